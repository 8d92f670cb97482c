"""The ledger: what devices sent, what the broker confirmed, what the cloud accepted, which acks came, and the rules.

Pure: no clock, no network. Events are reported in the order in which they happened, and a rule that is broken
becomes a line for a person. It must never use what the gateway reports.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Sample = tuple[float, int]
"""(value, Unix seconds). Each heartbeat has one, whose value is its number."""


@dataclass(slots=True)
class Entry:
    """One heartbeat of one device. `first_sent` and `last_sent` count what the device sent, from 1 on."""

    timestamp: int
    seq: int | None
    result: str | None
    first_sent: int
    last_sent: int
    confirmed: bool = False
    accepted: int = 0
    code: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether something must still happen to it."""
        done = self.accepted or self.code
        return not self.confirmed or not done or (self.seq is not None and self.code is None)

    @property
    def is_lost(self) -> bool:
        """The broker confirmed it, no call had it, and no error was reported."""
        return self.confirmed and not self.accepted and not self.code


@dataclass(slots=True)
class DeviceRecord:
    """One device. `newest`: the latest first sending among what was accepted. `results`: name -> whether it arrived."""

    entries: dict[int, Entry] = field(default_factory=dict)
    results: dict[str, bool] = field(default_factory=dict)
    sent: int = 0
    newest: int = 0
    calls: int = 0
    merged: int = 0
    acks: int = 0

    @property
    def is_open(self) -> bool:
        """Whether something must still happen to what was asked for, or to the newest heartbeat. Older ones that
        were not asked for are accepted by then, or lost: a device's calls keep their order."""
        entries = list(self.entries.values())
        return any(entry.is_open for entry in entries[-1:] + [entry for entry in entries if entry.seq is not None])


@dataclass(frozen=True, slots=True)
class Figures:
    """What a scenario came to, in heartbeats but for `calls` (accepted ones), `acks` (code 0) and `results`."""

    sent: int
    confirmed: int
    accepted: int
    merged: int
    duplicates: int
    errors: int
    lost: int
    acks: int
    results: int
    calls: int


class Ledger:
    """`ordered` False: nothing is said of the order, as with several gateways that share one subscription."""

    def __init__(self, ordered: bool = True) -> None:
        self.ordered = ordered
        self._records: dict[str, DeviceRecord] = {}
        self._broken: list[str] = []
        self.open = 0

    def start_over(self) -> None:
        """Forget everything, once nothing is open."""
        assert self.open == 0
        self._records, self._broken = {}, []

    def sent(self, device: str, number: int, timestamp: int, seq: int | None = None, result: str | None = None) -> None:
        """A device handed a heartbeat to the network, for the first time or again."""
        record = self._records.setdefault(device, DeviceRecord())
        record.sent += 1
        entry = record.entries.get(number)
        if entry is None:
            record.entries[number] = Entry(timestamp, seq, result, record.sent, record.sent)
            self.open += 1
        else:
            entry.last_sent = record.sent
        if result is not None:
            record.results.setdefault(result, False)

    def confirmed(self, device: str, number: int) -> None:
        """The broker's PUBACK came."""
        entry = self._records[device].entries[number]
        before, entry.confirmed = entry.is_open, True
        self._count(entry, before)

    def accepted(self, device: str, samples: Iterable[Sample], result: str | None = None) -> None:
        """The service accepted a call; reported before its reply leaves."""
        record = self._records.setdefault(device, DeviceRecord())
        record.calls += 1
        if result is not None:
            if result not in record.results:
                self._broken.append(f"{device}: result {result!r} was never sent")
            record.results[result] = True
        together = list(samples)
        for sample in together:
            self._accepted_one(device, record, sample)
        if len(together) > 1:
            record.merged += len(together)

    def _accepted_one(self, device: str, record: DeviceRecord, sample: Sample) -> None:
        entry = record.entries.get(int(sample[0]))
        if entry is None or sample != (int(sample[0]), entry.timestamp):
            self._broken.append(f"{device}: the cloud has {sample}, which was never sent")
            return
        before = entry.is_open
        entry.accepted += 1
        self._count(entry, before)
        if entry.accepted > 1:
            return
        if self.ordered and entry.last_sent < record.newest:
            self._broken.append(f"{device}: {sample[0]} was accepted after one that was sent later")
        record.newest = max(record.newest, entry.first_sent)

    def acked(self, device: str, seq: int, code: int) -> None:
        """An ack of a seq reached the device. A seq is the number of its heartbeat."""
        record = self._records[device]
        entry = record.entries.get(seq)
        if entry is None or entry.seq is None:
            self._broken.append(f"{device}: ack of seq {seq}, which was never asked for")
            return
        if code == 0:
            record.acks += 1
            if not entry.accepted:
                self._broken.append(f"{device}: {seq} was acked before the cloud accepted it")
            if entry.result is not None and not record.results[entry.result]:
                self._broken.append(f"{device}: {seq} was acked, and the cloud has not its result {entry.result!r}")
        self.refused(device, seq, code)

    def refused(self, device: str, number: int, code: int) -> None:
        """A heartbeat was answered with an error: by an ack, or on `dead`."""
        entry = self._records[device].entries[number]
        before, entry.code = entry.is_open, code
        self._count(entry, before)

    def _count(self, entry: Entry, was_open: bool) -> None:
        self.open += entry.is_open - was_open

    def broken(self, forgiven: int = 0) -> list[str]:
        """Every rule that was broken. `forgiven`: so many heartbeats without seq and result may be lost."""
        late = [f"{device}: result {name!r} never arrived" for device, name in self._missing_results()]
        lost = [f"{device}: {number} was confirmed and lost" for device, number, _ in self._lost()]
        unasked = sum(1 for _, _, entry in self._lost() if entry.seq is None and entry.result is None)
        return self._broken + late + (lost if len(lost) > min(unasked, forgiven) else [])

    def figures(self, prefix: str = "") -> Figures:
        """Of all devices whose names begin so."""
        records = [record for device, record in self._records.items() if device.startswith(prefix)]
        entries = [entry for record in records for entry in record.entries.values()]
        return Figures(
            sent=len(entries),
            confirmed=sum(entry.confirmed for entry in entries),
            accepted=sum(1 for entry in entries if entry.accepted),
            merged=sum(record.merged for record in records),
            duplicates=sum(entry.accepted - 1 for entry in entries if entry.accepted),
            errors=sum(1 for entry in entries if entry.code and not entry.accepted),
            lost=sum(entry.is_lost for entry in entries),
            acks=sum(record.acks for record in records),
            results=sum(sum(record.results.values()) for record in records),
            calls=sum(record.calls for record in records),
        )

    def open_devices(self) -> int:
        """How many devices wait for something; they do not wait for what was lost."""
        return sum(record.is_open for record in self._records.values())

    def _lost(self) -> Iterator[tuple[str, int, Entry]]:
        for device, record in self._records.items():
            yield from ((device, number, entry) for number, entry in record.entries.items() if entry.is_lost)

    def _missing_results(self) -> Iterator[tuple[str, str]]:
        for device, record in self._records.items():
            yield from ((device, name) for name, arrived in record.results.items() if not arrived)
