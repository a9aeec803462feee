"""jaxasr: sequence-to-sequence speech recognition in JAX/Flax, made for scaling experiments on TPUs and GPUs."""
