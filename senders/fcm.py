"""Firebase Cloud Messaging, HTTP v1: OAuth and sending.

Sources: the FCM HTTP v1 reference (``projects.messages``, ``ErrorCode``) and Google's "Using OAuth
2.0 for server to server applications" (RFC 7523 assertion).
"""

import re
import time
from collections.abc import Callable
from hashlib import sha256
from urllib.parse import urlencode

import jwt
import msgspec

from senders.credentials import FcmCredential
from senders.fcm_payload import fcm_payload
from senders.http import Answer, Http, UnansweredError, UnsentError
from senders.model import (
    Delivered,
    InvalidMessage,
    Misconfigured,
    Outcome,
    Rejected,
    Rendered,
    RetryAfter,
    Target,
)
from senders.network import ForbiddenUrlError
from senders.outcomes import classify, from_failure
from senders.payload import Payload
from senders.retry_after import retry_after_s
from senders.token_cache import MintError, Token, TokenCache

BASE_URL = "https://fcm.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
REFRESH_AHEAD_S = 300


class _Violation(msgspec.Struct):
    field: str = ""


class _Detail(msgspec.Struct):
    type: str = msgspec.field(default="", name="@type")
    error_code: str = msgspec.field(default="", name="errorCode")
    violations: list[_Violation] = msgspec.field(default_factory=list, name="fieldViolations")


class _Error(msgspec.Struct):
    status: str = ""
    message: str = ""
    details: list[_Detail] = []


class _ErrorBody(msgspec.Struct):
    error: _Error = msgspec.field(default_factory=_Error)


class _Sent(msgspec.Struct):
    name: str = ""


class _Grant(msgspec.Struct):
    access_token: str
    expires_in: int = 3599


_decode_error = msgspec.json.Decoder(_ErrorBody).decode
_decode_sent = msgspec.json.Decoder(_Sent).decode


_TOKEN = re.compile(r"[!-~]+")


def check_target(target: Target) -> None:
    """Check an address when it is registered.

    Raises:
        ValueError: not a registration token.
    """
    # Their form is Google's own and not documented; only what no token can be is refused.
    if not (1 <= len(target.address) <= 4096) or not _TOKEN.fullmatch(target.address):
        raise ValueError(
            "/address: an FCM registration token is ASCII without blanks, at most 4,096 characters"
        )
    if any(character.isspace() for character in target.address):
        raise ValueError("/address: an FCM registration token has no blanks")


class FcmSender:
    """Sends to one Firebase project; its access token is shared with all processes."""

    def __init__(
        self,
        credential: FcmCredential,
        http: Http,
        tokens: TokenCache,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        """Take a validated credential."""
        account = credential.service_account
        base = credential.endpoint.rstrip("/") or BASE_URL
        self._account, self._http, self._tokens, self._clock_s = account, http, tokens, clock_s
        self._token_uri = f"{base}/token" if credential.endpoint else account.token_uri
        self._url = f"{base}/v1/projects/{account.project_id}/messages:send"
        digest = sha256(f"{self._token_uri}\n{account.private_key.strip()}".encode()).hexdigest()
        self._name = f"fcm:{account.client_email}:{digest[:16]}"

    async def send(self, message: Rendered, target: Target) -> Outcome:
        """Send; see ``Sender``."""
        try:
            payload = fcm_payload(message, target.address, int(self._clock_s() * 1000))
            return await self._send(payload)
        except (UnsentError, UnansweredError, ForbiddenUrlError) as error:
            return from_failure(error)
        except MintError as error:
            return error.outcome
        except InvalidMessage as error:
            return Rejected(str(error))

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()

    async def check(self) -> None:
        """Fetch an access token.

        Raises:
            MintError: Google does not give one.
        """
        await self._tokens.get(self._name, self._mint)

    async def _send(self, payload: Payload) -> Outcome:
        token = await self._tokens.get(self._name, self._mint)
        answer = await self._post(payload, token)
        if answer.status == 401 and _code(answer) == "UNAUTHENTICATED":
            token = await self._tokens.renew(self._name, token, self._mint)
            answer = await self._post(payload, token)
        if answer.status == 200:
            return Delivered(_sent_name(answer))
        wait_s = retry_after_s(answer.headers, self._clock_s())
        return classify("fcm", answer.status, _code(answer), retry_after_s=wait_s)

    async def _post(self, payload: Payload, token: Token) -> Answer:
        head = {**payload.headers, "authorization": f"Bearer {token.text}"}
        return await self._http.post(self._url, head, payload.body)

    async def _mint(self) -> Token:
        now_s = int(self._clock_s())
        form = urlencode({"grant_type": GRANT, "assertion": self._assertion(now_s)})
        head = {"content-type": "application/x-www-form-urlencoded"}
        try:
            answer = await self._http.post(self._token_uri, head, form.encode())
        except (UnsentError, UnansweredError) as error:
            raise MintError(from_failure(UnsentError(f"token: {error}"))) from error
        try:
            grant = msgspec.json.decode(answer.body, type=_Grant)
        except msgspec.DecodeError:
            raise MintError(_refused_grant(answer, self._clock_s())) from None
        life_s = max(grant.expires_in, 60)
        ahead_s = min(REFRESH_AHEAD_S, life_s // 2)
        return Token(grant.access_token, now_s, now_s + life_s - ahead_s, now_s + life_s)

    def _assertion(self, now_s: int) -> str:
        account = self._account
        claims = {
            "iss": account.client_email,
            "scope": SCOPE,
            "aud": self._token_uri,
            "iat": now_s,
            "exp": now_s + 3600,
        }
        headers = {"kid": account.private_key_id} if account.private_key_id else None
        return jwt.encode(claims, account.private_key, algorithm="RS256", headers=headers)


def _refused_grant(answer: Answer, now_s: float) -> Outcome:
    """No token: 4xx means that the account is wrong, everything else passes."""
    if 400 <= answer.status < 500 and answer.status not in (408, 429):
        return Misconfigured(f"no access token for this service account ({answer.status})")
    return RetryAfter(
        f"token endpoint answered {answer.status}",
        retry_after_s(answer.headers, now_s),
        is_counted=answer.status != 429,
    )


def _sent_name(answer: Answer) -> str:
    try:
        return _decode_sent(answer.body).name
    except msgspec.DecodeError:
        return ""


def _code(answer: Answer) -> str:
    """The table's code: FcmError's, else the status, with the two INVALID_ARGUMENTs told apart."""
    try:
        error = _decode_error(answer.body).error
    except msgspec.DecodeError:
        return ""
    told = [detail.error_code for detail in error.details if detail.type.endswith(".FcmError")]
    code = next(filter(None, told), "") or error.status
    if code == "INVALID_ARGUMENT":
        fields = {each.field for detail in error.details for each in detail.violations}
        about_token = fields == {"message.token"} or (
            not fields and "registration token" in error.message.lower()
        )
        return "INVALID_TOKEN" if about_token else code
    if code in ("QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED") and "device" in error.message.lower():
        return "DEVICE_QUOTA_EXCEEDED"
    return code
