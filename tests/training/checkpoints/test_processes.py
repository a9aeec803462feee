"""Checkpoints of a job of several processes: digests of arrays that no process holds alone."""

import numpy as np

from jaxasr.training.checkpoints.digests import digests
from tests.scale.multi_process import ended, several

JOB = """
    import json, os, pathlib
    import jax, numpy as np
    from jax.sharding import NamedSharding, PartitionSpec as P
    from jaxasr.scale import hosts
    from jaxasr.training import Checkpoints, DamagedCheckpointError, Metadata
    from jaxasr.training.checkpoints.documents import read_document, sealed
    folder = pathlib.Path(os.environ["FOLDER"])
    with hosts.distributed():
        mesh = jax.make_mesh((2,), ("a",), axis_types=(jax.sharding.AxisType.Auto,))
        values = {"split": np.arange(24, dtype=np.float32).reshape(4, 6), "whole": np.ones(3, np.float32)}

        def state(spec, make):
            specs = {"split": spec, "whole": P()}
            return {name: make(value, NamedSharding(mesh, specs[name])) for name, value in values.items()}

        def spread(value, sharding):
            return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

        def abstract(value, sharding):
            return jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=sharding)

        with Checkpoints(folder) as checkpoints:
            checkpoints.save(1, state(P("a"), spread), Metadata("", "", "", "", {}))
            for spec in (P("a"), P(None, "a"), P()):
                back, _ = checkpoints.restore(1, state(spec, abstract))
                for shard in back["split"].addressable_shards:
                    np.testing.assert_array_equal(shard.data, values["split"][shard.index])
            print("digest", checkpoints._saved(1).about().digests["split"], flush=True)
            hosts.barrier("read")
            path = folder / "1" / "metadata" / "metadata"
            if hosts.process()[0] == 0:
                document = read_document(path)
                document["digests"]["split"] = "0" * 16
                path.write_text(json.dumps(sealed(document)))
            hosts.barrier("damaged")
            try:
                checkpoints.restore(1, state(P("a"), abstract))
            except DamagedCheckpointError as damage:
                print(damage, flush=True)
"""


def test_shards_have_the_digest_of_the_array_on_every_mesh(tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    digest = digests({"x": array}, lambda text: [text])["x"]
    with several(JOB, FOLDER=str(tmp_path / "checkpoints")) as processes:
        results = ended(processes)
    assert [result.status for result in results] == [0, 0], results
    for result in results:
        first, second = result.out.splitlines()
        assert first == f"digest {digest}"
        assert second.endswith("/1: split holds other values than were saved: the digest differs")
