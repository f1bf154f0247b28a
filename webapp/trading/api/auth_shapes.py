"""Tokens, tickets and second factors; see webapp.trading.api.shapes."""

from rest_framework import serializers

from webapp.trading.api.shapes import Out, Strict


class CredentialsIn(Strict):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=1024, trim_whitespace=False)


class RefreshIn(Strict):
    refresh = serializers.CharField(max_length=4096)


class TokensOut(Out):
    access = serializers.CharField()
    refresh = serializers.CharField()


class TicketOut(Out):
    ticket = serializers.CharField()
    expires_in_s = serializers.IntegerField()


class SecondFactorOut(Out):
    enrolled = serializers.BooleanField()
    recovery_codes_left = serializers.IntegerField()


class SecondFactorBeginIn(Strict):
    password = serializers.CharField(max_length=1024, trim_whitespace=False)


class QrOut(Out):
    size = serializers.IntegerField(help_text="Side of the view box, quiet zone included.")
    path = serializers.CharField(help_text="Of an SVG path with a stroke one unit wide.")


class SecondFactorBeginOut(Out):
    uri = serializers.CharField(help_text="The `otpauth://` address.")
    secret = serializers.CharField(help_text="Of the address, for typing; base32.")
    qr = QrOut()


class SecondFactorConfirmIn(Strict):
    code = serializers.CharField(max_length=16)


class SecondFactorConfirmOut(Out):
    enrolled = serializers.BooleanField()
    recovery_codes = serializers.ListField(child=serializers.CharField())


class SecondFactorEndIn(Strict):
    proof = serializers.CharField(max_length=64, help_text="The present code, or a recovery code.")
