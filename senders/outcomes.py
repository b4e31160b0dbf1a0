"""What every documented provider answer means: one table, one outcome each.

Sources: Apple "Handling error responses from APNs", the FCM HTTP v1 ``ErrorCode`` reference,
RFC 8030 with the push services' own additions (autopush, WNS, Apple), Standard Webhooks 1.0.0, the
WhatsApp Cloud API and Twilio error lists, RFC 5321 and RFC 3463 for mail.

Codes the table does not know are safe: 2xx is delivered, 429 throttled, 408 and 5xx retried, and
any other answer refuses this one message; only rows that say so drop an address.
"""

from enum import StrEnum
from typing import Literal, NamedTuple

from senders.http import UnansweredError, UnsentError
from senders.model import (
    Ambiguous,
    Delivered,
    Misconfigured,
    Outcome,
    Provider,
    Rejected,
    RetryAfter,
    Unregistered,
)
from senders.network import ForbiddenUrlError

Scope = Literal["target", "credential"]


class Verdict(StrEnum):
    """The classes of answers."""

    DELIVERED = "delivered"
    RETRY = "retry"
    THROTTLED = "throttled"
    UNREGISTERED = "unregistered"
    REJECTED = "rejected"
    MISCONFIGURED = "misconfigured"


class Rule(NamedTuple):
    """One documented answer. ``code`` empty: any code; ``status`` ending in xx: that hundred."""

    provider: Provider
    status: str
    code: str
    verdict: Verdict
    note: str = ""
    scope: Scope = "credential"
    after_s: float | None = None


# status | codes ("-": any) | verdict | scope and delay of those who must wait | note
_TABLE_TEXT: dict[Provider, str] = {
    "apns": """
    200 | - | delivered | |
    400 | BadDeviceToken | unregistered | | no such token in this environment
    400 | DeviceTokenNotForTopic | unregistered | | misconfigured if the target names no app
    400 | TopicDisallowed BadTopic MissingTopic | misconfigured | |
    400 | BadCollapseId BadExpirationDate BadMessageId BadPriority | rejected | |
    400 | InvalidPushType DuplicateHeaders MissingDeviceToken PayloadEmpty | rejected | |
    400 | IdleTimeout | retry | credential | on a new connection
    403 | ExpiredProviderToken | retry | credential | once at once, new token and connection
    403 | UnrelatedKeyIdInToken | misconfigured | | after one try on a new connection
    403 | InvalidProviderToken MissingProviderToken Forbidden | misconfigured | |
    403 | BadEnvironmentKeyIdInToken BadEnvironmentKeyInToken | misconfigured | |
    403 | BadCertificate BadCertificateEnvironment | misconfigured | |
    404 | BadPath | rejected | |
    405 | MethodNotAllowed | rejected | |
    410 | Unregistered ExpiredToken | unregistered | | since the timestamp of the answer
    413 | PayloadTooLarge | rejected | |
    429 | TooManyRequests | throttled | target 60 | this device only
    429 | TooManyProviderTokenUpdates | throttled | credential 300 | the token is kept
    500 | InternalServerError | retry | credential |
    503 | ServiceUnavailable | retry | credential |
    503 | Shutdown | retry | credential | on a new connection
    """,
    "fcm": """
    200 | - | delivered | |
    400 | INVALID_TOKEN | unregistered | | INVALID_ARGUMENT about the registration token
    400 | INVALID_ARGUMENT | rejected | | INVALID_ARGUMENT about the payload
    401 | UNAUTHENTICATED | misconfigured | | after one try with a new access token
    401 | THIRD_PARTY_AUTH_ERROR | misconfigured | | APNs or VAPID key inside the project
    403 | PERMISSION_DENIED | misconfigured | |
    403 | SENDER_ID_MISMATCH | rejected | | another project's token; a 403 never drops a token
    404 | UNREGISTERED | unregistered | |
    404 | NOT_FOUND | misconfigured | | no such project
    429 | QUOTA_EXCEEDED RESOURCE_EXHAUSTED | throttled | credential 60 |
    429 | DEVICE_QUOTA_EXCEEDED | throttled | target 60 | a quota that names the device
    500 | INTERNAL | retry | credential |
    503 | UNAVAILABLE | retry | credential |
    """,
    "webpush": """
    2xx | - | delivered | |
    3xx | - | rejected | | never followed
    400 | UnauthorizedRegistration VapidPkHashMismatch | unregistered | | another VAPID key's
    400 | - | rejected | |
    401 | - | misconfigured | | after one try with a new signature
    403 | - | misconfigured | | after one try with a new signature
    404 | - | unregistered | |
    406 | - | throttled | target 60 | WNS throttles with 406
    410 | - | unregistered | |
    413 | - | rejected | |
    429 | - | throttled | target 60 |
    503 | 201 | retry | credential | autopush: back off
    503 | 202 | retry | target 0 | autopush: try again at once
    """,
    "webhook": """
    2xx | - | delivered | |
    3xx | - | retry | target | a redirect is a failure
    4xx | - | retry | target | anything but 2xx is tried again (Standard Webhooks)
    410 | - | unregistered | | the receiver asks to be disabled
    429 | - | throttled | target |
    502 | - | throttled | target |
    504 | - | throttled | target |
    5xx | - | retry | target |
    """,
    "whatsapp": """
    2xx | - | delivered | |
    4xx | 4 80007 130429 | throttled | credential | throughput
    4xx | 131056 | throttled | target 60 | too many to this number
    4xx | 1 2 131000 131016 | retry | credential |
    5xx | 1 2 131000 131016 | retry | credential |
    4xx | 131026 | rejected | | undeliverable to this number
    4xx | 131047 | rejected | | the 24-hour window is closed: a template is needed
    4xx | 33 100 131008 131009 131051 132000 132001 | rejected | |
    4xx | 132005 132007 132012 132015 132016 132018 | rejected | |
    4xx | 0 3 10 190 200 131005 131031 131042 131045 133010 | misconfigured | |
    401 | - | misconfigured | |
    """,
    "sms": """
    2xx | - | delivered | |
    429 | 20429 | throttled | credential |
    4xx | 21211 21214 21217 21614 | unregistered | | not a number that takes messages
    4xx | 21610 | unregistered | | opted out
    4xx | 30003 30005 30006 | unregistered | | unreachable or no such handset
    4xx | 21408 21602 21604 21617 30007 | rejected | |
    4xx | 20003 20005 20404 21212 21603 21606 | misconfigured | |
    401 | - | misconfigured | |
    403 | - | misconfigured | |
    """,
    "email": """
    2xx | - | delivered | |
    4xx | - | retry | target |
    4xx | 4.7.0 4.7.1 4.7.28 | throttled | credential | rate limited
    421 | - | retry | credential |
    454 | - | retry | credential |
    530 | - | misconfigured | |
    534 | - | misconfigured | |
    535 | - | misconfigured | |
    538 | - | misconfigured | |
    5xx | 5.1.1 5.1.2 5.1.6 5.1.10 5.2.1 | unregistered | | no such mailbox
    5xx | - | rejected | |
    """,
    "inbox": """
    2xx | - | delivered | |
    """,
}


def _parse_table(provider: Provider, text: str) -> list[Rule]:
    rules = []
    for line in text.strip().splitlines():
        status, codes, verdict, wait, note = (cell.strip() for cell in line.split("|"))
        scope, _, after = wait.partition(" ")
        for code in codes.split():
            rule = Rule(
                provider,
                status,
                "" if code == "-" else code,
                Verdict(verdict),
                note,
                "target" if scope == "target" else "credential",
                float(after) if after else None,
            )
            rules.append(rule)
    return rules


RULES: tuple[Rule, ...] = tuple(
    rule for provider, text in _TABLE_TEXT.items() for rule in _parse_table(provider, text)
)
_TABLE = {(rule.provider, rule.status, rule.code): rule for rule in RULES}


def classify(
    provider: Provider,
    status: int,
    code: str = "",
    *,
    provider_id: str = "",
    retry_after_s: float | None = None,
    since: int = 0,
) -> Outcome:
    """The outcome of an answer.

    Args:
        provider: who answered.
        status: HTTP (or SMTP) status.
        code: the provider's own code, empty if it gave none.
        provider_id: the provider's id of the message, for ``Delivered``.
        retry_after_s: the answer's Retry-After; wins over the table's delay.
        since: epoch ms since when the address is dead; 0: now.
    """
    rule = find_rule(provider, status, code)
    reason = code or str(status)
    after_s = rule.after_s if retry_after_s is None else retry_after_s
    match rule.verdict:
        case Verdict.DELIVERED:
            return Delivered(provider_id)
        case Verdict.RETRY:
            return RetryAfter(reason, after_s, rule.scope)
        case Verdict.THROTTLED:
            return RetryAfter(reason, after_s, rule.scope, is_counted=False)
        case Verdict.UNREGISTERED:
            return Unregistered(reason, since)
        case Verdict.REJECTED:
            return Rejected(reason)
        case Verdict.MISCONFIGURED:
            return Misconfigured(reason)


def find_rule(provider: Provider, status: int, code: str = "") -> Rule:
    """The table's row for an answer, or the safe rule for what it does not know."""
    hundred = f"{status // 100}xx"
    for key in ((str(status), code), (hundred, code), (str(status), ""), (hundred, "")):
        if (rule := _TABLE.get((provider, *key))) is not None:
            return rule
    if 200 <= status < 300:
        verdict = Verdict.DELIVERED
    elif status == 429:
        verdict = Verdict.THROTTLED
    elif status == 408 or status >= 500:
        verdict = Verdict.RETRY
    else:
        verdict = Verdict.REJECTED
    return Rule(provider, str(status), code, verdict, "not documented")


def from_failure(
    error: UnsentError | UnansweredError | ForbiddenUrlError, scope: Scope = "credential"
) -> Outcome:
    """The outcome of a request that got no answer."""
    if isinstance(error, UnsentError):
        return RetryAfter(str(error), scope=scope)
    if isinstance(error, UnansweredError):
        return Ambiguous(str(error))
    return Rejected(f"forbidden address: {error}")


def markdown() -> str:
    """The table as Markdown, for docs/senders.md."""
    head = "| provider | status | code | outcome | who waits | note |\n|---|---|---|---|---|---|"
    return "\n".join([head, *(_row(rule) for rule in RULES)]) + "\n"


def _row(rule: Rule) -> str:
    waits: str = rule.scope if rule.verdict in (Verdict.RETRY, Verdict.THROTTLED) else ""
    if waits and rule.after_s is not None:
        waits += f", {rule.after_s:g} s"
    code = f"`{rule.code}`" if rule.code else "any other"
    cells = (rule.provider, rule.status, code, rule.verdict.value, waits, rule.note)
    return "| " + " | ".join(cells) + " |"
