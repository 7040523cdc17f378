"""An issuer of signed tokens, with a key of its own."""

import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

ISSUER, AUDIENCE = "https://issuer.test", "nextchar"


class Issuer:
    """Signs tokens with a key of the curve P-256."""

    def __init__(self, key_id: str = "one") -> None:
        self.key_id = key_id
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.public: dict[str, Any] = {
            **jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True),
            "kid": key_id,
        }

    def token(self, *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """Returns a token of the subject ann that is valid for a minute; a claim that is None is left out."""
        now = time.time()
        content = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": now + 60, **claims}
        content = {name: value for name, value in content.items() if value is not None}
        return jwt.encode(content, self.key, "ES256", headers={"kid": self.key_id, **(headers or {})})

    def write(self, path: Path) -> Path:
        """Writes its set of keys."""
        path.write_text(json.dumps({"keys": [self.public]}))
        return path
