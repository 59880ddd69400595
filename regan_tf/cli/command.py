"""What the commands share: errors shown as one line, and a TensorFlow that is quiet and repeats
itself.
"""

import contextlib
import math
import os
import shlex
import sys

from absl import app, flags, logging

from regan_tf.cli import flagfiles
from regan_tf.config import UserError

INTERRUPTED = 130  # the shell's exit code for Ctrl-C
is_regan = False  # whether the command was typed as `regan <command>`


def run(main, takes_arguments=False):
    """Runs `main()`, or `main(arguments)`, under absl: a UserError, and what the system refuses,
    becomes one line on standard error and exit code 1.
    """

    def checked(argv):
        logging.set_verbosity(logging.WARNING)
        try:
            if takes_arguments:
                return main(argv[1:])
            if len(argv) > 1:
                raise UserError(
                    f"{argv[1]!r} is not a flag: flags are written --name=value; --help lists them"
                )
            return main()
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return INTERRUPTED
        except (UserError, OSError) as error:  # an OSError names the file and the cause
            print(f"error: {error}", file=sys.stderr)
            return 1
        except Exception as error:
            if not _is_lack_of_memory(error):
                raise
            first_line = str(error).partition("\n")[0]
            print(f"error: there is not enough memory: {first_line[:160]}", file=sys.stderr)
            return 1

    app.run(checked, flags_parser=_parsed)


def _parsed(argv):
    """As absl parses, but flagfiles are found by name, and from within each other, and numbers are
    such.
    """
    try:
        rest = app.parse_flags_with_usage([argv[0], *flagfiles.expanded(argv[1:])])
        require_finite(flags.FLAGS)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    return rest


def require_finite(flag_values):
    """Raises UserError, naming the flag, unless the numbers of all parsed flags are finite, and
    whole ones of 32 bits, where a flag has no bound of its own: larger sizes fit no memory.
    """
    for name in flag_values:
        value, parser = flag_values[name].value, flag_values[name].parser
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"--{name}={value} is not allowed: it must be a finite number")
        bound = getattr(parser, "upper_bound", None) or 2**31 - 1
        if isinstance(value, int) and abs(value) > bound:
            raise UserError(f"--{name}={value} is not allowed: it must be at most {bound} in size")


def _is_lack_of_memory(error):
    """Python's or TensorFlow's, which may not be loaded."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


def typed(module, *arguments):
    """What to type for a command, in the manner in which this one was typed: `regan sample`, or
    `python -m regan_tf.sample`.
    """
    name = "train" if module == "main" else module
    words = ["regan", name] if is_regan else ["python", "-m", f"regan_tf.{module}"]
    return shlex.join([*words, *map(str, arguments)])


def start_tensorflow(threads, precision="float32"):
    """Loads TensorFlow and makes its ops deterministic: the same seed gives the same numbers, bit
    for bit.

    Commands call this once their flags are good, so that a bad flag is refused at once.
    TensorFlow's greetings on loading are dropped; TF_CPP_MIN_LOG_LEVEL=0 shows them.

    Args:
      threads: that one op, and the graph, may use; 0 lets TensorFlow choose.
      precision: float32; or bfloat16, in which TensorFlow then computes matrix products, and what
        is safe between them. Weights and sums stay float32.
    """
    with silent_stderr():
        import tensorflow as tf
    # Also where it is off: from Python another run may have turned it on.
    is_mixed = precision == "bfloat16"
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": is_mixed})
    tf.config.experimental.enable_op_determinism()
    with contextlib.suppress(RuntimeError):  # from Python TensorFlow may have begun already
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)


def positive(text, flag):
    """The number of a flag's text. Raises UserError, naming the flag, unless it is finite and above
    0.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"--{flag}={text} is not allowed: it must be a finite number above 0")
    return value


def figure(value, decimals=4):
    """A number for a table: so many decimals, or as many significant digits but one where these
    would show little of a small number; "" for None.
    """
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return (
        f"{value:.{decimals - 1}g}"
        if 0 < abs(value) < 100 * 10**-decimals
        else f"{value:.{decimals}f}"
    )


@contextlib.contextmanager
def silent_stderr():
    """Drops what C++ code writes to standard error, unless TF_CPP_MIN_LOG_LEVEL=0 asks for it."""
    if os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0":
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
