"""Our errors on unary calls: to a gRPC status at the server, and back to the same error at the client.

The reason and its metadata travel as trailing metadata, so that no further library is needed to read them. Nothing of an
unforeseen exception leaves the server but the fact; its text goes to the log.
"""

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

import msgspec

from energyshare.errors import EnergyShareError, Reason, Rejected, Unavailable

if TYPE_CHECKING:
    import grpc

LOG = logging.getLogger("energyshare.rpc")
REASON_KEY = "energyshare-reason"
METADATA_KEY = "energyshare-metadata-bin"

P = ParamSpec("P")
R = TypeVar("R")


async def abort(context: "grpc.aio.ServicerContext[Any, Any]", error: EnergyShareError) -> NoReturn:
    """End a call with an error: a refusal with its reason, anything else in words or not at all."""
    import grpc

    if isinstance(error, Rejected):
        await context.abort(_code(error.reason), str(error), _trailer(error))
    if isinstance(error, Unavailable):
        await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
    LOG.error("a call met stored data that contradicts itself: %s", error)
    await context.abort(grpc.StatusCode.INTERNAL, "internal error")
    raise AssertionError("abort returned")


def refusing(handler: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Wrap a unary handler `(self, request, context)`, so that whatever it raises becomes a status."""

    @functools.wraps(handler)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        import grpc

        context: Any = args[2]
        try:
            return await handler(*args, **kwargs)
        except EnergyShareError as error:
            await abort(context, error)
        except grpc.aio.AbortError:
            raise
        except Exception:
            LOG.exception("a call failed")
            await context.abort(grpc.StatusCode.INTERNAL, "internal error")
            raise

    return guarded


def error_of(call_error: "grpc.aio.AioRpcError") -> EnergyShareError:
    """Turn a failed call into the error that the server raised: Rejected with its reason, else Unavailable."""
    import grpc

    trailer = dict(call_error.trailing_metadata() or ())
    reason = str(trailer.get(REASON_KEY, ""))
    if reason in Reason.__members__:
        return Rejected(Reason(reason), **_metadata(trailer.get(METADATA_KEY)))
    code = call_error.code()
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return Unavailable("the other side does not answer", "check its address, and that it runs")
    return Unavailable(f"the call failed: {reason or code.name}")


def _code(reason: Reason) -> "grpc.StatusCode":
    import grpc

    codes = {
        Reason.MALFORMED: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.UNSUPPORTED: grpc.StatusCode.UNIMPLEMENTED,
        Reason.INTERNAL: grpc.StatusCode.INTERNAL,
        Reason.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
    return codes.get(reason, grpc.StatusCode.FAILED_PRECONDITION)


def _trailer(error: Rejected) -> tuple[tuple[str, str | bytes], ...]:
    return ((REASON_KEY, error.reason.value), (METADATA_KEY, msgspec.json.encode(dict(error.metadata))))


def _metadata(value: str | bytes | None) -> dict[str, str]:
    try:
        return msgspec.json.decode(value or b"{}", type=dict[str, str])
    except (msgspec.DecodeError, msgspec.ValidationError):
        return {}
