"""Everything that can be set, with the values of real Azure as defaults where they are known."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """Settings of one simulator. All but `host`, `port`, `ca_dir`, `seed` can be changed while it runs.

    Attributes:
        host: The loopback address to listen on.
        port: 0 takes a free port.
        ca_dir: Where to write `ca.pem`; None makes a temporary directory.
        seed: Of keys, ids and etags.
        transition_seconds: How long a PUT or DELETE of a hub takes; None holds it until `finish_transitions()`.
        latency_seconds: Added to each request.
        page_size: Hubs in one page of a list.
        enforce_if_match: Refuse a stale `If-Match` or body etag with 412. Whether real Azure does is unverified.
        tls_refused_locations: Regions that answer 400 to a `minTlsVersion` (RECORDINGS §3.9).
        rp_not_found_seconds: How long after a deletion the provider's 404 is sent instead of the gateway's.
        token_seconds: Lifetime of a token.
        reads: Bucket size and refill per second of GET (AZURE §6).
        writes: The same for PUT, PATCH and POST.
        deletes: The same for DELETE.
        data_plane_throttle: Factor on the documented limits of a hub's data plane; 0 for no limits.
        closed_hub_status: What a hub's data plane answers from outside its network rules: 401 or 403.
        query_page_size: Rows in one page of a twin query, whatever the client asks for.
        query_empty_pages: How many pages without rows, but with a continuation, come before each one with rows.
        query_lag_seconds: How long a new device or module is missing in queries (recorded: less than 5).
        publish_on_accept: Also send the event of a PUT when it is accepted, not only when it is done.
        retry_delays: Seconds before each further delivery of an event; their number bounds the attempts.
        retry_scale: Factor on these delays.
        dead_letter_delay: Seconds until a dead letter is written, with all that was given up by then; scaled, too.
        delivery_timeout: Seconds a subscriber has for its answer.
    """

    host: str = "127.0.0.1"
    port: int = 0
    ca_dir: str | None = None
    seed: int = 1
    transition_seconds: float | None = 1.0
    latency_seconds: float = 0.0
    page_size: int = 100
    enforce_if_match: bool = True
    tls_refused_locations: tuple[str, ...] = ()
    rp_not_found_seconds: float = 5.0
    token_seconds: int = 3600
    reads: tuple[float, float] = (250.0, 25.0)
    writes: tuple[float, float] = (200.0, 10.0)
    deletes: tuple[float, float] = (200.0, 10.0)
    data_plane_throttle: float = 1.0
    closed_hub_status: int = 401
    query_page_size: int = 1000
    query_empty_pages: int = 0
    query_lag_seconds: float = 5.0
    publish_on_accept: bool = False
    retry_delays: tuple[float, ...] = field(
        default=(10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 43200),
    )
    retry_scale: float = 1.0
    dead_letter_delay: float = 300.0
    delivery_timeout: float = 30.0


FIXED = frozenset({"host", "port", "ca_dir", "seed"})
"""Settings that cannot change while the simulator runs."""
