"""The configuration files for TF Serving itself."""

import http.server
import pathlib
import subprocess
import threading

import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from tensorflow_serving.config import model_server_config_pb2


class KitTest(tf.test.TestCase):
    """The files of export/, read as the messages that TF Serving reads them as."""

    def test_models(self):
        config = text_format.Parse(
            _kit("models.config"), model_server_config_pb2.ModelServerConfig()
        )
        (model,) = config.model_config_list.config
        self.assertEqual(
            (model.name, model.base_path, model.model_platform),
            ("regan", "/models/regan-rebar-3", "tensorflow"),
        )

    def test_batching_and_monitoring(self):
        # These two messages are in no package: their fields, as TF Serving's .proto files have
        # them.
        number, flag, text = ("Number", {"value": "TYPE_INT64"}), "TYPE_BOOL", "TYPE_STRING"
        messages = dict(
            [
                number,
                ("Prometheus", {"enable": flag, "path": text}),
                ("Monitoring", {"prometheus_config": "Prometheus"}),
            ]
        )
        names = (
            "max_batch_size",
            "batch_timeout_micros",
            "max_enqueued_batches",
            "num_batch_threads",
        )
        messages["Batching"] = dict.fromkeys(names, "Number")
        batching = text_format.Parse(
            _kit("batching_parameters.txt"), _message(messages, "Batching")
        )
        self.assertEqual(batching.max_batch_size.value, 1024)
        monitoring = text_format.Parse(_kit("monitoring.config"), _message(messages, "Monitoring"))
        self.assertTrue(monitoring.prometheus_config.enable)


class ComposeTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        yaml = pytest.importorskip("yaml")
        self.service = yaml.safe_load(_kit("docker-compose.yml"))["services"]["regan"]

    def test_it_may_do_no_more_than_it_must(self):
        self.assertRegex(self.service["image"], r"^tensorflow/serving:\d+\.\d+\.\d+$")
        for port in self.service["ports"]:
            self.assertRegex(port, r"^127\.0\.0\.1:")
        for volume in self.service["volumes"]:
            self.assertEndsWith(volume, ":ro")
        self.assertTrue(self.service["read_only"])
        self.assertEqual(self.service["cap_drop"], ["ALL"])
        self.assertContainsSubset({"cpus", "mem_limit", "pids_limit"}, self.service)

    def test_it_is_healthy_once_a_version_is_available(self):
        states = ["AVAILABLE", "LOADING"]

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200 if self.path == "/v1/models/regan" else 404)
                self.end_headers()
                self.wfile.write(b'{"state": "%s"}' % states.pop(0).encode())

            def log_message(self, *arguments):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        kind, *command = self.service["healthcheck"]["test"]
        self.assertEqual(kind, "CMD")
        command[-1] = command[-1].replace("8501", str(server.server_port))
        codes = [subprocess.run(command, check=False).returncode for _ in range(2)]
        server.shutdown()
        server.server_close()
        self.assertEqual(codes, [0, 1])


def _kit(name):
    return (pathlib.Path(__file__).parents[2] / "export" / name).read_text()


def _message(messages, wanted):
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{wanted}.proto", package=wanted, syntax="proto3"
    )
    for message, fields in messages.items():
        made = file.message_type.add(name=message)
        for i, (name, kind) in enumerate(fields.items(), 1):
            field = made.field.add(
                name=name, number=i, label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
            )
            if kind.startswith("TYPE_"):
                field.type = getattr(descriptor_pb2.FieldDescriptorProto, kind)
            else:
                field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
                field.type_name = f".{wanted}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{wanted}.{wanted}"))()


if __name__ == "__main__":
    tf.test.main()
