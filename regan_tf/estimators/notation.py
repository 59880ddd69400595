"""How estimators are written down to be compared: ESTIMATOR[:OPTION...]."""

from typing import Any

from regan_tf.settings import SettingError
from regan_tf.spec import ESTIMATORS, FORMS, OF_CRITICS, SAMPLINGS, EstimatorSpec

REFERENCE = "reference"
_NAMES = [name for name, traits in ESTIMATORS.items() if traits.is_of_reward]
_OPTIONS = (
    f"write ESTIMATOR[:OPTION...] with one of {', '.join(_NAMES)}, {REFERENCE}, and "
    f"options {', '.join(FORMS)}, loo, weighted (baseline), eta, temperature (learned), "
    "per_example, independent, x2, x4 ... (draws of z~), sobol, lhs (sampling), reuse2, "
    "reuse4 ... (the last of so many updates with a batch); of a critic critics2, critics3 ..., "
    "reward_target, unread, next"
)
_NUMBERED = {"x": "control_samples", "reuse": "updates_per_batch", "critics": "critics"}
_NAMED: dict[str, dict[str, Any]] = {
    "loo": {"leave_one_out": True},
    "weighted": {"baseline": "weighted"},
    "eta": {"learn_eta": True},
    "temperature": {"learn_temperature": True},
    "per_example": {"variance_loss": "per_example"},
    "independent": {"coupled": False},
    "reward_target": {"critic_target": "reward"},
    "unread": {"critic_reads": "nothing"},
    "next": {"critic_reads": "next"},
    **{form: {"control_variate": form} for form in FORMS},
    **{sampling: {"sampling": sampling} for sampling in SAMPLINGS},
}


def parse(text: str, eta: float = 1.0, temperature: float = 1.0) -> EstimatorSpec | None:
    """The spec that `estimator[:option...]` stands for, at this eta and lambda; None for the
    reference.

    Raises ValueError, naming what is allowed.
    """
    estimator, *options = text.split(":")
    settings: dict[str, Any] = {}
    for option in options:
        word = option.rstrip("0123456789")
        number = option.removeprefix(word)
        if option in _NAMED:
            settings |= _NAMED[option]
        elif number and word in _NUMBERED:
            settings[_NUMBERED[word]] = int(number)
        else:
            raise ValueError(f"{text!r} has the unknown option {option!r}; {_OPTIONS}")
    if text == REFERENCE:
        return None
    if estimator in ESTIMATORS and estimator not in _NAMES:
        raise ValueError(f"{text!r} does not follow the mean reward alone; {_OPTIONS}")
    try:
        spec = EstimatorSpec(estimator, eta=eta, temperature=temperature, **settings)
    except SettingError as error:
        raise ValueError(f"{text!r}: {error}; {_OPTIONS}") from None
    of_any = {"leave_one_out", "baseline", "sampling", "updates_per_batch", *OF_CRITICS}
    if settings.keys() - of_any and not spec.traits.relaxed:
        raise ValueError(f"{text!r} has options of a control variate, and none of it; {_OPTIONS}")
    return spec
