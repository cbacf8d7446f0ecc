"""Compare sessions on a GPU with the bundle's float32 model on the CPU before they are used."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wavepaint.atomic import write_file
from wavepaint.cache_folder import cache_folder
from wavepaint.contract import Model
from wavepaint.errors import EngineError, OutputError
from wavepaint.runtime.engines.comparison import check_session, describe_failure
from wavepaint.runtime.engines.session import Session


@dataclass(frozen=True)
class Reference:
    """A bundle's float32 model, which sessions on a GPU are compared with.

    Attributes:
        model: The model.
        open: Opens it on the CPU.
    """

    model: Model
    open: Callable[[Model], Session]

    def find_difference(self, session: Session) -> str:
        """Return how a session fails the comparison, without a full stop; empty if it passes.

        Raises:
            EngineError: The session fails to run, or no engine for the CPU opens the reference.
        """
        with self.open(self.model) as expected:
            return describe_failure(check_session(session, expected)) or ""


def check_once(session: Session, reference: Reference, hashes: Sequence[str]) -> None:
    """Compare a session with a reference, unless that was done on this machine before.

    Args:
        session: The session. It is closed if it fails.
        reference: The reference.
        hashes: sha256 of both files, by which the result is cached.

    Raises:
        EngineError: The session fails to run, or differs by more than its budget.
    """
    depends = [*hashes, session.engine, session.device, session.arithmetic]
    key = hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:16]
    cached = cache_folder() / "checks" / f"{key}.txt"
    try:
        failure = cached.read_text("utf-8")  # empty if it passed
    except (OSError, ValueError):
        try:
            failure = reference.find_difference(session)
        except EngineError:
            session.close()
            raise
        # Without a cache folder the next start compares again.
        with contextlib.suppress(OutputError), write_file(cached, overwrite=True) as temporary:
            temporary.write_text(failure, "utf-8")
    if failure:
        session.close()
        raise EngineError(f"{failure}.")
