"""TLS identities: the certificate authority, the requests to it, and what a certificate says.

ECDSA P-256 only, because gRPC's TLS refuses Ed25519 certificates; what is signed with Ed25519 is in `energyshare.signing`.
"""
