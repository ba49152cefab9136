"""Files are fetched whole and verified, whatever the network does."""

import dataclasses
import hashlib
import pathlib

from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet.weights import fetch
from keras_regnet.weights import records
from tests.support import fetch_testing as testing


class FromUrlTest(testing.FetchTestCase):
    def test_md5(self):
        self.serve("/w.bin", testing.SMALL)
        url = self.host.url("/w.bin")
        wrong = "0" * 32
        with self.assertRaisesRegex(
            ValueError, f"its md5 is .{{32}}, that of the published one {wrong}"
        ):
            fetch.from_url(url, f"md5:{wrong}")
        self.assertEmpty(self.in_cache())
        digest = hashlib.md5(testing.SMALL).hexdigest()
        self.assertEqual(
            fetch.from_url(url, f"md5:{digest}").read_bytes(), testing.SMALL
        )

    @parameterized.parameters(64, 8, 0)
    def test_good_file(self, digits):
        file = self.serve("/a/w.bin", testing.SMALL)
        url = self.host.url("/a/w.bin?download=1")
        self.host.files["/a/w.bin?download=1"] = file
        known = testing.sha256(testing.SMALL)[:digits].upper()
        path = fetch.from_url(url, known)
        self.assertEqual(path, self.home / "models" / "w.bin")
        self.assertEqual(path.read_bytes(), testing.SMALL)
        self.assertEqual(self.in_cache(), ["w.bin"])
        # The second time it is there.
        self.assertEqual(fetch.from_url(url, known), path)
        self.assertLen(file.requests, 1)

    def test_name_of_the_copy(self):
        self.serve("/resolve/main", testing.SMALL)
        path = fetch.from_url(self.host.url("/resolve/main"), name="x.h5")
        self.assertEqual(path.name, "x.h5")

    def test_warm_cache_needs_no_network(self):
        (self.home / "models").mkdir()
        (self.home / "models" / "w.bin").write_bytes(testing.SMALL)
        path = fetch.from_url(
            "http://127.0.0.1:9/w.bin", testing.sha256(testing.SMALL)
        )
        self.assertEqual(path.read_bytes(), testing.SMALL)

    def test_damaged_copy_is_replaced(self):
        (self.home / "models").mkdir()
        (self.home / "models" / "w.bin").write_bytes(testing.SMALL[:-1])
        self.serve("/w.bin", testing.SMALL)
        path = fetch.from_url(
            self.host.url("/w.bin"), testing.sha256(testing.SMALL)
        )
        self.assertEqual(path.read_bytes(), testing.SMALL)

    @parameterized.named_parameters(
        ("other", testing.SMALL[::-1]), ("truncated", testing.SMALL[:-1000])
    )
    def test_wrong_hash(self, content):
        self.serve("/w.bin", content)
        known = testing.sha256(testing.SMALL)[:8]
        with self.assertRaisesRegex(
            ValueError,
            f"{self.host.url('/w.bin')}.* is not the published file: .*"
            f"{testing.sha256(content)}.* starts with {known}. It was deleted",
        ):
            fetch.from_url(self.host.url("/w.bin"), known)
        self.assertEmpty(self.in_cache())

    def test_empty_file(self):
        self.serve("/w.bin", b"")
        with self.assertRaisesRegex(OSError, "w.bin.*: The file is empty"):
            fetch.from_url(self.host.url("/w.bin"))
        self.assertEmpty(self.in_cache())

    def test_slow_file(self):
        self.serve("/w.bin", testing.SMALL, pause=0.2)
        path = fetch.from_url(
            self.host.url("/w.bin"), testing.sha256(testing.SMALL)
        )
        self.assertEqual(path.read_bytes(), testing.SMALL)

    def test_connection_cut_and_resumed(self):
        file = self.serve(
            "/w.bin", testing.BIG, cut_after=testing.CHUNK + 5, cuts=1
        )
        path = fetch.from_url(
            self.host.url("/w.bin"), testing.sha256(testing.BIG)
        )
        self.assertEqual(path.read_bytes(), testing.BIG)
        self.assertEqual(file.requests, ["", f"bytes={testing.CHUNK}-"])

    @parameterized.named_parameters(
        ("other_file", testing.SMALL[::-1][:1000]),
        ("longer_than_the_file", testing.SMALL + b"more"),
    )
    def test_useless_rest_is_dropped(self, left):
        (self.home / "models").mkdir()
        (self.home / "models" / "w.bin.part").write_bytes(left)
        self.serve("/w.bin", testing.SMALL)
        path = fetch.from_url(
            self.host.url("/w.bin"), testing.sha256(testing.SMALL)
        )
        self.assertEqual(path.read_bytes(), testing.SMALL)
        self.assertEqual(self.in_cache(), ["w.bin"])

    def test_not_found(self):
        url = self.host.url("/nowhere.bin")
        with self.assertRaisesRegex(
            OSError, f"Cannot fetch '{url}' to '{self.home}/models': .*404"
        ) as raised:
            fetch.from_url(url)
        self.assertNotIn("\n", str(raised.exception))
        self.assertIn("give its path as `weights`", str(raised.exception))
        self.assertEmpty(self.in_cache())

    def test_folder_that_cannot_be_written(self):
        (self.home / "models").write_text("a file stands where it would be")
        with self.assertRaisesRegex(OSError, "Cannot fetch .*w.bin"):
            fetch.from_url(self.host.url("/w.bin"))


class FetchTest(testing.FetchTestCase):
    def record(self, **values):
        values = {"hub_id": "", "notop_url": "", "sha256": "", **values}
        return dataclasses.replace(records.all_records()[0], **values)

    def test_file_of_a_record(self):
        self.serve("/w.pth", testing.SMALL)
        record = self.record(
            url=self.host.url("/w.pth"),
            file="named.pth",
            sha256=testing.sha256(testing.SMALL)[:8],
        )
        path = fetch.fetch(record)
        self.assertEqual(path.name, "named.pth")
        self.assertEqual(path.read_bytes(), testing.SMALL)
        wrong = dataclasses.replace(record, sha256="0" * 64)
        with self.assertRaisesRegex(ValueError, "not the published file"):
            fetch.fetch(wrong)

    def test_file_without_the_top(self):
        top = self.serve("/w.h5", testing.SMALL)
        self.serve("/w_notop.h5", testing.SMALL[:999])
        record = self.record(
            url=self.host.url("/w.h5"),
            file="w.h5",
            notop_url=self.host.url("/w_notop.h5"),
            notop_sha256=testing.sha256(testing.SMALL[:999]),
        )
        path = fetch.fetch(record, include_top=False)
        self.assertEqual(path.name, "w_notop.h5")
        self.assertEqual(path.read_bytes(), testing.SMALL[:999])
        self.assertEmpty(top.requests)

    def test_copies_that_are_here(self):
        self.serve("/w.h5", testing.SMALL)
        record = self.record(url=self.host.url("/w.h5"), file="w.h5")
        self.assertIsNone(fetch.cached(record))
        path = fetch.fetch(record)
        self.assertEqual(fetch.cached(record), path)

    def test_repository_of_a_record(self):
        record = self.record(hub_id="owner/net", file="model.safetensors")
        with absltest.mock.patch.object(fetch, "from_hub") as from_hub:
            fetch.fetch(record)
        from_hub.assert_called_once_with("hf:owner/net", ["model.safetensors"])


class FromHubTest(testing.FetchTestCase):
    @parameterized.parameters(
        ("hf:owner/name", "owner/name", None),
        ("hf:owner/name@v1.0", "owner/name", "v1.0"),
        ("hf://owner/name", "owner/name", None),
        ("hf://owner/name@refs/pr/1", "owner/name", "refs/pr/1"),
        (pathlib.Path("hf://owner/name"), "owner/name", None),
        ("hf-hub:owner/name@main", "owner/name", "main"),
        ("hf_hub:owner/na.me_1", "owner/na.me_1", None),
    )
    def test_spellings(self, source, repository, revision):
        self.assertTrue(fetch.is_hub_source(source))
        found = fetch.hub_repository(source)
        self.assertEqual(found, (repository, revision))

    @parameterized.parameters("hf.safetensors", "./hf:a", "hf", "hfhub:a/b")
    def test_other_sources(self, source):
        self.assertFalse(fetch.is_hub_source(source))

    @parameterized.parameters(
        *("hf:net", "hf:", "hf:a/b/c", "hf:a/b@", "hf:a/ b", "hf:///a/b"),
        *("hf://a", "hf-hub:"),
    )
    def test_spelling(self, source):
        with self.assertRaisesRegex(
            ValueError, f"'hf:owner/name@revision'.*weights='{source}'"
        ):
            fetch.from_hub(source)


if __name__ == "__main__":
    absltest.main()
