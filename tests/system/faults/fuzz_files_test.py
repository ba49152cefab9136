"""A few damaged files of every format: read whole, or refused in one line."""

import concurrent.futures
import pathlib
import tempfile

from absl.testing import absltest

from tests.system.faults import fuzz_files
from tests.system.faults import fuzz_formats

_MUTANTS = 40
_WORKERS = 2


class FuzzFilesTest(absltest.TestCase):
    def test_mutants_are_always_the_same(self):
        content = bytes(range(256)) * 4
        mutants = [fuzz_files.mutant("a", content, n) for n in range(50)]
        self.assertEqual(
            mutants, [fuzz_files.mutant("a", content, n) for n in range(50)]
        )
        self.assertGreater(len(set(mutants)), 45)

    def test_every_format(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)

        def run(pair):
            number, name = pair
            place = pathlib.Path(folder.name) / str(number)
            return name, fuzz_files.run(name, _MUTANTS, place)

        with concurrent.futures.ThreadPoolExecutor(_WORKERS) as pool:
            results = dict(pool.map(run, enumerate(fuzz_formats.FORMATS)))
        self.assertLen(results, len(fuzz_formats.FORMATS))
        for name, result in results.items():
            self.assertEqual(sum(result.counts.values()), _MUTANTS, name)
            self.assertGreater(result.counts["refused"], _MUTANTS / 4, name)
            self.assertEqual(result.details, [], name)


if __name__ == "__main__":
    absltest.main()
