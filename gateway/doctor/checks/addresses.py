"""The addresses of a host name: which are reached. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.doctor.result import CheckResult, Level


@dataclass(frozen=True, slots=True)
class AddressResult:
    """`problem`: why it is not reached; "": it is. `silent`: it did not answer in time."""

    address: str
    problem: str = ""
    silent: bool = False


def with_addresses(result: CheckResult, addresses: Sequence[AddressResult]) -> CheckResult:
    """`result` with each address of a name that has several, if one is not reached. A silent one delays every new
    connection: a warning."""
    if len(addresses) < 2 or not any(each.problem for each in addresses):
        return result
    listed = ", ".join(f"{each.address}: {each.problem or 'reached'}" for each in addresses)
    result = replace(result, found=f"{result.found} ({listed})")
    if result.level is not Level.PASS or not any(each.silent for each in addresses):
        return result
    return replace(result, level=Level.WARN, todo="repair the address that does not answer, or take it out of DNS")
