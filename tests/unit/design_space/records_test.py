import dataclasses
import gzip
import json
import pathlib
import resource
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from keras_regnet import config as config_lib
from keras_regnet.design_space import records
from tests.support import design_space_testing as testing


class RecordTest(parameterized.TestCase):
    def test_survives_json(self):
        for record in (testing.RECORD, testing.FAILED):
            line = record.to_json()
            self.assertNotIn("\n", line)
            self.assertEqual(records.Record.from_dict(json.loads(line)), record)

    def test_resolution_of_its_own(self):
        """Stored where there is one alone: older lines stay as they are."""
        self.assertNotIn("resolution", testing.RECORD.to_dict())
        record = dataclasses.replace(testing.RECORD, resolution=48)
        stored = json.loads(record.to_json())
        self.assertEqual(stored["resolution"], 48)
        self.assertEqual(records.Record.from_dict(stored), record)
        with self.assertRaisesRegex(ValueError, "`resolution` must be"):
            records.Record.from_dict({**stored, "resolution": "48"})

    def test_line_is_flat(self):
        values = json.loads(testing.RECORD.to_json())
        for name, value in values.items():
            self.assertNotIsInstance(value, dict, name)
        self.assertEqual(values["schema"], 1)
        self.assertEqual(values["trial"], "0")

    def test_network(self):
        network = testing.RECORD.network
        self.assertIsInstance(network, config_lib.AnyNetConfig)
        self.assertEqual(network.widths, (16, 32))

    @parameterized.named_parameters(
        ("schema", {"schema": 2}, "another `schema`.*reads 1.*schema=2"),
        ("type", {"flops": "many"}, "`flops` must be.*flops='many'"),
        ("bool", {"index": True}, "`index` must be.*True"),
        ("list", {"test_errors": [1, "x"]}, "`test_errors` must be"),
        ("nan", {"seconds": float("nan")}, "`seconds` must be.*nan"),
        ("status", {"status": "gone"}, "`status` must be one of.*'gone'"),
        ("no error", {"error": None}, "`error` where `status` is 'done'"),
        ("unknown", {"color": 1}, "Missing or unknown: color"),
        ("config", {"config": "{}"}, "record: `config`: Unknown `type`"),
        ("huge", {"flops": 10**400}, "`flops` must be.*1000"),
        ("no percentage", {"error": 100.5}, "`error` must be from 0 to 100"),
        ("below 0", {"error": -0.5}, "`error` must be from 0 to 100"),
    )
    def test_refuses(self, change, message):
        values = {**testing.RECORD.to_dict(), **change}
        with self.assertRaisesRegex(ValueError, message):
            records.Record.from_dict(values)

    def test_refuses_missing_field(self):
        values = testing.RECORD.to_dict()
        del values["seed"]
        with self.assertRaisesRegex(ValueError, "unknown: seed"):
            records.Record.from_dict(values)

    def test_nan_is_not_a_record(self):
        record = dataclasses.replace(testing.RECORD, error=float("nan"))
        with self.assertRaises(ValueError):
            record.to_json()


class FileTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.path = (
            pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
            / "records.jsonl"
        )

    def test_log_appends(self):
        for _ in range(2):
            log = records.Log(self.path)
            log.append(testing.RECORD)
            log.close()
        self.assertEqual(records.read(self.path), [testing.RECORD] * 2)

    def test_truncated_line_is_removed_and_kept(self):
        line = testing.RECORD.to_json() + "\n"
        self.path.write_text(line + line[:100])
        self.assertEqual(records.read(self.path), [testing.RECORD])
        log = records.Log(self.path)
        self.assertEqual(log.truncated.decode(), line[:100])
        log.append(testing.FAILED)
        log.close()
        expected = [testing.RECORD, testing.FAILED]
        self.assertEqual(records.read(self.path), expected)

    def test_damage_in_the_middle_is_an_error(self):
        line = testing.RECORD.to_json() + "\n"
        self.path.write_text(line + line[:50] + "\n" + line)
        with self.assertRaisesRegex(ValueError, "records.jsonl, line 2"):
            records.read(self.path)

    def test_nested_beyond_measure(self):
        self.path.write_text("[" * 100_000 + "\n")
        with self.assertRaisesRegex(ValueError, "line 1 is not JSON"):
            records.read(self.path)

    def test_other_schema_names_the_line(self):
        line = testing.RECORD.to_json()
        other = line.replace('"schema": 1', '"schema": 9')
        self.path.write_text(f"{line}\n{other}\n")
        with self.assertRaisesRegex(ValueError, "line 2 has another `schema`"):
            records.read(self.path)

    def test_packed(self):
        packed = self.path.with_suffix(".jsonl.gz")
        written = [testing.RECORD, testing.FAILED]
        records.write_packed(packed, written)
        first = packed.read_bytes()
        records.write_packed(packed, written)
        self.assertEqual(packed.read_bytes(), first)
        self.assertEqual(records.read(packed), written)
        self.assertLen(gzip.decompress(first).splitlines(), 2)
        for damaged in (first[:-9], b"\x00" + first[1:], first[:30] + b"x"):
            packed.write_bytes(damaged)
            with self.assertRaisesRegex(ValueError, "gz is not a whole gzip"):
                records.read(packed)

    def test_full_disk_leaves_whole_lines(self):
        """A limit on the size of files stands for the end of the disk."""
        log = records.Log(self.path)
        log.append(testing.RECORD)
        size = self.path.stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        # A module imported meanwhile would leave a truncated .pyc behind.
        self.enterContext(mock.patch.object(sys, "dont_write_bytecode", True))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 99, hard))
        try:
            with self.assertRaisesRegex(OSError, "records.jsonl"):
                log.append(testing.RECORD)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        self.assertEqual(records.read(self.path), [testing.RECORD])
        self.assertEqual(self.path.stat().st_size, size)
        log.append(testing.FAILED)
        log.close()
        self.assertEqual(records.read(self.path)[1:], [testing.FAILED])


class FromNetworksTest(absltest.TestCase):
    def records_of(self, errors):
        networks = [config_lib.AnyNetConfig((1, 2), (32, 64))] * len(errors)
        return records.from_networks(networks, errors, space="A", regime="mine")

    def test_two_batches_are_two(self):
        both = self.records_of([31.0, 32.0]) + self.records_of([33.0, 34.0])
        found = records.last_of_each_trial(both)
        self.assertEqual([r.error for r in found], [31.0, 32.0, 33.0, 34.0])

    def test_two_networks_of_one_error_are_two(self):
        self.assertLen(
            records.last_of_each_trial(self.records_of([31.0, 31.0])), 2
        )

    def test_ids_repeat(self):
        one, other = self.records_of([31.0]), self.records_of([31.0])
        self.assertEqual(one, other)

    def test_one_id_of_two_networks_is_refused(self):
        (first,) = self.records_of([31.0])
        other = dataclasses.replace(
            first, config=config_lib.AnyNetConfig((1, 3), (32, 64)).to_json()
        )
        with self.assertRaisesRegex(ValueError, "of one network and seed"):
            records.last_of_each_trial([first, other])


class GroupsTest(absltest.TestCase):
    def test_last_of_each_trial(self):
        done = dataclasses.replace(testing.RECORD, attempt=2)
        other = dataclasses.replace(testing.FAILED, trial_id="1")
        again = dataclasses.replace(other, attempt=2)
        found = [testing.FAILED, other, done, again]
        self.assertEqual(records.last_of_each_trial(found), [done, again])

    def test_by_space(self):
        other = dataclasses.replace(testing.RECORD, space="A")
        groups = records.by_space([other, testing.RECORD, other])
        self.assertEqual(
            groups, {"A": [other, other], "RegNetX": [testing.RECORD]}
        )


if __name__ == "__main__":
    absltest.main()
