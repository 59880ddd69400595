"""The calls of a reward in Python over a run's life: killed, ended by its budget, gone on with."""

import dataclasses
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout

import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from absl.testing import parameterized

import regan_tf
from regan_tf.cli import config_flags
from regan_tf.config import Config, UserError
from regan_tf.estimators.calls import read
from regan_tf.tasks.registry import task_of
from regan_tf.training import run as run_module
from regan_tf.training.callbacks import Callback
from regan_tf.training.progress import Progress

_SMALL = {
    "data_size": 64, "heldout_size": 20, "eval_samples": 50, "batch_size": 16, "embed_dim": 4,
    "generator_dim": 4, "discriminator_dim": 4, "seq_len": 6, "estimator": "reinforce_loo",
    "generator_learning_rate": 0.05, "eval_every": 3, "checkpoint_every": 4, "d_steps": 0,
    "export_generator": "none", "reward": "tests.training.experiment_test:reward",
}  # fmt: skip
_OF_TRIAL = 8  # texts that a reward is tried with before training, which are no calls
_MODULE = """
import time
import regan_tf

@regan_tf.text_reward
def reward(texts):
    with open({log!r}, "a") as log:
        log.write("".join(text + "\\n" for text in texts))
    time.sleep(0.02)
    return [text.count("+") / len(text) for text in texts]
"""


class _Stop(Callback):
    """A kill: what is since the last checkpoint is lost."""

    def __init__(self, iteration):
        self._iteration = iteration

    def on_iteration(self, record, generator):
        if record["iteration"] == self._iteration:
            raise InterruptedError


class CallsOfARunTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.asked = []

    def _run(self, name, stop=-1, reward=None, **options):
        @regan_tf.text_reward
        def plus(texts):
            self.asked.extend(texts)
            return {"reward": [t.count("+") / len(t) for t in texts], "x": [t.count("x") for t in
                    texts], "valid": [t[0] != "/" for t in texts]}  # fmt: skip

        config = Config(**_SMALL | options, workdir=str(self.directory / name)).resolved()
        with redirect_stdout(io.StringIO()) as output:
            run_module.run(config, callbacks=[_Stop(stop)], own_reward=reward or plus)
        return output.getvalue()

    def _file(self, name, file):
        return (self.directory / name / file).read_text()

    def _records(self, name):
        lines = self._file(name, "metrics.jsonl").splitlines()
        return [json.loads(line) | {"seconds": 0} for line in lines]

    def _summary(self, name):
        return json.loads(self._file(name, "summary.json"))

    def _calls(self, name):
        return regan_tf.load_run(self.directory / name).calls()

    def test_a_run_that_is_killed_makes_no_call_twice_and_ends_as_if_it_had_not_been(self):
        self._run("whole", iterations=9)
        self.asked.clear()
        for stop in (2, 6):  # there is a checkpoint at 4
            with self.assertRaises(InterruptedError):
                self._run("killed", stop=stop, iterations=9)
            with open(self.directory / "killed/calls.jsonl", "a") as file:
                file.write('{"call": 9')
        after_kills = len(self.asked)
        by_iteration = {r["iteration"]: r for r in self._records("whole") if "calls" in r}
        at_checkpoint = by_iteration[4]["calls"]
        self.assertEqual(self._calls("killed"), self._calls("whole")[:at_checkpoint])
        self._run("killed", iterations=9)
        self.assertGreater(len(self.asked), after_kills)
        # Training had begun, so that the reward was not tried again.
        self.assertLen(set(self.asked), len(self.asked))
        self.assertEqual(self._records("killed"), self._records("whole"))
        self.assertEqual(self._calls("killed"), self._calls("whole"))
        again = len(list(read(self._file("killed", "calls.jsonl").splitlines(True))))
        self.assertGreater(again, len(self._calls("killed")))  # counted again, not made again
        for name in ("calls", "best", "last"):
            self.assertEqual(self._summary("killed")[name], self._summary("whole")[name])
        self.assertEqual(self._file("killed", "best_sequences.tsv"),
                         self._file("whole", "best_sequences.tsv"))  # fmt: skip

    def test_a_budget_is_met_exactly_and_a_higher_one_goes_on_as_if_it_had_been_so(self):
        g_steps = 2  # of which the first may be made when the second cannot
        output = self._run("run", reward_calls=100, g_steps=g_steps)
        calls = self._calls("run")
        self.assertEqual([call["call"] for call in calls], list(range(1, 101)))
        self.assertNotIn("warning: 100 of", output)
        self.assertEqual(self._summary("run")["calls"]["calls"], 100)
        self.assertLess(self._records("run")[-1]["calls"], 100)  # what needed more was not made
        self.assertEqual(self._summary("run")["iterations"], self._records("run")[-1]["iteration"])
        told = self._run("run", reward_calls=100, g_steps=g_steps)
        self.assertIn("A higher --reward_calls goes on", told)
        before = len(self.asked)
        self._run("run", reward_calls=150, g_steps=g_steps)
        self.assertLen(self.asked, before + 50)
        self._run("whole", reward_calls=150, g_steps=g_steps)
        self.assertEqual(self._records("run"), self._records("whole"))
        self.assertEqual(self._calls("run"), self._calls("whole"))
        weights = [regan_tf.load_run(self.directory / name).generator.variables
                   for name in ("run", "whole")]  # fmt: skip
        for one, other in zip(*weights, strict=True):
            self.assertAllEqual(one, other)

    def test_what_a_run_shows_is_what_its_calls_say(self):
        output = self._run("run", iterations=6)
        calls, records = self._calls("run"), self._records("run")
        rewards = np.array([call["reward"] for call in calls])
        for record in records[2:]:
            so_far = np.sort(rewards[: record["calls"]])[::-1]
            for k in (1, 10, 100):
                self.assertAllClose(record[f"top_{k}"], so_far[:k].mean())
        self.assertEqual(records[1]["calls"], 0)
        self.assertIsNone(records[1]["top_1"])
        valid = {call["text"]: call["valid"] for call in calls}
        self.assertEqual(valid, {text: text[0] != "/" for text in valid})
        self.assertBetween(records[2]["reward_valid"], 0.1, 0.99)
        self.assertTrue(all(call["reward"] == 0 for call in calls if not call["valid"]))
        table = [line.split("\t") for line in self._file("run", "best_sequences.tsv").splitlines()]
        self.assertEqual(
            table[0], ["rank", "reward", "x", "valid", "iteration", "call", "sequence"]
        )
        best = sorted(calls, key=lambda call: (-call["reward"], call["call"]))[:100]
        self.assertEqual([row[-1] for row in table[1:]], [call["text"] for call in best])
        self.assertIn(f"best of {len(calls)} sequences", output)
        self.assertIn("invalid has reward 0", output)
        loaded = regan_tf.load_run(self.directory / "run")
        self.assertEqual(loaded.best_sequences(3), best[:3])
        self.assertTrue((self.directory / "run/figures/reward.png").exists())

    def test_a_reward_that_goes_wrong_after_many_calls_ends_the_run_which_goes_on(self):
        made, bad = [], []

        @regan_tf.text_reward
        def reward(texts):
            if bad and len(made) > 35:
                return bad[-1](texts)
            made.extend(texts)
            print("a reward may print")
            return [1.0] * len(texts)

        for function, told in (
            (lambda texts: None, "gave None as reward: it must be a list of"),
            (lambda texts: ["much"] * len(texts), "gave 'much' as reward for"),
            (lambda texts: [1.0] * (len(texts) - 1), "gave .* numbers as reward for .* sequences"),
            (lambda texts: [np.inf] * len(texts), "gave inf as reward for"),
            (lambda texts: [1 / 0], r"raised ZeroDivisionError: division by zero \(.*\), for"),
        ):
            bad.append(function)
            where = "^at adversarial iteration 3 the update with --reward=.* failed: RewardError: "
            with self.assertRaisesRegex(UserError, where + told) as caught:
                self._run("run", reward=reward, reward_calls=100, checkpoint_every=1)
            self.assertNotIn("\n", str(caught.exception))
        bad.clear()
        self._run("run", reward=reward, reward_calls=100)
        self.assertLen(self._calls("run"), 100)
        self.assertLen(self._file("run", "calls.jsonl").splitlines(), 100)
        self.assertLen(set(made), len(made))
        os.utime(self.directory / "run/calls.jsonl", (0, 0))
        output = self._run("run", reward=reward, reward_calls=130)
        self.assertIn("experiment_test.py has changed since the run's last call", output)

    def test_calls_that_are_lost_are_told_of(self):
        with self.assertRaises(InterruptedError):
            self._run("run", stop=5, iterations=6)
        (self.directory / "run/calls.jsonl").write_text("")
        older, _ = sorted((self.directory / "run/checkpoints").iterdir())
        shutil.rmtree(older)  # it would serve
        with self.assertRaisesRegex(UserError, r"calls.jsonl cannot be read: it has 0 of the \d+"):
            self._run("run", iterations=6)

    def test_a_generator_that_finds_nothing_new_ends_by_its_iterations(self):
        output = self._run("run", seq_len=3, reward_calls=130, iterations=20)
        self.assertRegex(output, r"warning: \d+ of --reward_calls=130 were made: --iterations=20")

    def test_by_its_recorded_flags_a_run_goes_on_to_a_higher_budget(self):
        lines = config_flags.to_text(Config(**_SMALL, reward_calls=32).resolved()).splitlines()
        values = flags.FlagValues()
        config_flags.define(values)
        values(["", *(line for line in lines if line[:2] == "--"), "--reward_calls=64"])
        config = config_flags.parsed(values)
        self.assertGreater(config.iterations, 10**6)
        self.assertEqual(dataclasses.replace(config, reward_calls=0).resolved().iterations, 200)
        progress = Progress(task_of(config), 64)
        progress.count_iteration()
        progress.count_calls(63)
        self.assertFalse(progress.finished)

    @parameterized.parameters(
        ({"reward_calls": 15}, "--reward_calls=15 is not allowed: an iteration may ask for 16 "),
        ({"reward_calls": 47, "g_steps": 3}, "--reward_calls=47 is not .*ask for 48 sequences"),
        (
            {"reward_calls": 175, "estimator": "reinforce_rollout", "rollouts": 2},
            "--reward_calls=175 is not allowed: an iteration may ask for 176 sequences .see --batc",
        ),
        ({"reward_calls": 20, "reward": "", "d_steps": 1}, "--reward_calls=20 needs a --reward"),
        (
            {"reward_calls": 20, "distribution": "multi_worker"},
            "--reward_calls=20 contradicts --distribution=multi_worker",
        ),
        (
            {"reward_calls": 20, "reward": "tests.problems:many_plus"},
            "--reward_calls=20 needs a --reward of texts or tokens .*many_plus reads rows",
        ),
    )
    def test_a_budget_that_cannot_be_kept_is_refused(self, options, message):
        with self.assertRaisesRegex(UserError, f"^{message}"):
            config = Config(**_SMALL | options, workdir=str(self.directory / "run")).resolved()
            run_module.run(config)

    def test_the_least_budget_pays_for_an_iteration(self):
        options = {"estimator": "reinforce_rollout", "rollouts": 2}
        Config(**_SMALL | options, reward_calls=176)
        of_texts = Config(dataset="pydoc", reward="a:b", reward_calls=175, **options)
        with self.assertRaisesRegex(UserError, "ask for 672 sequences"):  # once T is known
            dataclasses.replace(of_texts, seq_len=11)

    @pytest.mark.slow
    def test_kill_9_between_checkpoints(self):
        module, log = self.directory / "logging_reward.py", self.directory / "asked"
        module.write_text(_MODULE.format(log=str(log)))
        options = _SMALL | {"reward": f"{module}:reward", "reward_calls": 200}
        arguments = [f"--{name}={value}" for name, value in options.items()]
        command = [sys.executable, "-m", "regan_tf.main", *arguments]
        place = f"--workdir={self.directory}/killed"
        process = subprocess.Popen([*command, place], stderr=subprocess.DEVNULL)
        calls = self.directory / "killed/calls.jsonl"

        def lines(path):
            return path.read_bytes().count(b"\n")

        while not calls.exists() or lines(calls) < 90:
            self.assertIsNone(process.poll())
            time.sleep(0.01)
        # Not while a call is under way, which nobody could know of: it would be made again.
        while True:
            process.send_signal(signal.SIGSTOP)
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            self.assertTrue(os.WIFSTOPPED(status))
            if lines(log) == _OF_TRIAL + lines(calls):
                break
            process.send_signal(signal.SIGCONT)
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed_at = lines(calls)
        configs = [
            Config(**options, workdir=str(self.directory / name)).resolved()
            for name in ("killed", "whole")
        ]
        with redirect_stdout(io.StringIO()):
            run_module.run(configs[0])
        asked = log.read_text().splitlines()
        self.assertLen(set(asked), len(asked))
        with redirect_stdout(io.StringIO()):
            run_module.run(configs[1])
        self.assertBetween(killed_at, 90, 199)
        self.assertEqual(self._records("killed"), self._records("whole"))
        self.assertEqual(self._calls("killed"), self._calls("whole"))

    @pytest.mark.slow
    def test_a_second_ctrl_c_stops_at_once_also_while_a_reward_runs(self):
        module, log = self.directory / "slow_reward.py", self.directory / "asked"
        slow = _MODULE.replace("time.sleep(0.02)", "time.sleep(600 if len(texts) > 8 else 0)")
        module.write_text(slow.format(log=str(log)))
        options = _SMALL | {"reward": f"{module}:reward", "workdir": str(self.directory / "run")}
        arguments = [f"--{name}={value}" for name, value in options.items()]
        process = subprocess.Popen(
            [sys.executable, "-m", "regan_tf.main", *arguments], stderr=subprocess.PIPE
        )
        while not log.exists() or log.read_text().count("\n") <= _OF_TRIAL:
            self.assertIsNone(process.poll())
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        seen = b""
        while b"press Ctrl-C again" not in seen:
            seen += process.stderr.read(1)
        time.sleep(1)  # one that comes at once is the same
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=60), 130)
        process.stderr.close()


if __name__ == "__main__":
    tf.test.main()
