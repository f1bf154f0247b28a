"""The order desk: what each request that changes an account does, and what it answers.

A request that is well formed and breaks a rule is recorded as a reject transaction. One that is
malformed raises `Malformed` before anything is recorded.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sep_oanda_server.fields import (
    DEPENDENT_TYPES,
    ENTRY_TYPES,
    Malformed,
    Rejected,
    client_extensions,
    details_fields,
    echo,
    entry_fields,
    identity,
    instrument_named,
)
from sep_oanda_server.ledger import DEPENDENT_SLOTS, ZERO, Batch, Ledger, Order, Reply, Trade
from sep_oanda_server.market import Instrument, QuoteBoard
from sep_oanda_server.matching import NONE, Interference, dependent_fields, fill, work_new_order
from sep_oanda_server.wire import Json, decimals_of, plain, read_decimal


def create_order(
    account: Ledger, source: Json, market: QuoteBoard, now_ns: int, force: Interference = NONE
) -> Reply:
    """POST orders: 201 with what happened at once, or 400 or 404 with the reject.

    Raises:
        Malformed: nothing was recorded.
    """
    batch = Batch(account, now_ns)
    order_type = _order_type(source)
    try:
        if force.reject:
            raise Rejected(force.reject)
        fields = _new_order_fields(account, order_type, source, market, now_ns)
    except Rejected as rejected:
        return batch.rejection(
            "orderRejectTransaction",
            f"{order_type}_ORDER_REJECT",
            rejected.reason,
            **_full_echo(source),
            reason="CLIENT_ORDER",
        )
    created = batch.add(f"{order_type}_ORDER", **fields, reason="CLIENT_ORDER")
    body = {"orderCreateTransaction": created}
    body |= work_new_order(account, account.orders[int(created["id"])], market, batch, force)
    return batch.reply(201, body)


def replace_order(
    account: Ledger,
    specifier: str,
    source: Json,
    market: QuoteBoard,
    now_ns: int,
    force: Interference = NONE,
) -> Reply:
    """PUT orders/{spec}: cancels and creates in one batch; the new order has a new id.

    Raises:
        Malformed: nothing was recorded.
    """
    batch = Batch(account, now_ns)
    order_type = _order_type(source)
    old = account.order_named(specifier)
    if old is None or old.state != "PENDING":
        return _cancel_refused(account, batch, specifier, old)
    try:
        if force.reject:
            raise Rejected(force.reject)
        if order_type != old.type:
            raise Rejected("REPLACING_ORDER_INVALID")
        fields = _new_order_fields(account, order_type, source, market, now_ns, replaces=old)
    except Rejected as rejected:
        return batch.rejection(
            "orderRejectTransaction",
            f"{order_type}_ORDER_REJECT",
            rejected.reason,
            **_full_echo(source),
            reason="REPLACEMENT",
            intendedReplacesOrderID=str(old.id),
        )
    cancelled, created = _swap(account, batch, old, order_type, fields)
    body = {"orderCancelTransaction": cancelled, "orderCreateTransaction": created}
    outcome = work_new_order(account, account.orders[int(created["id"])], market, batch, force)
    if "orderCancelTransaction" in outcome:
        outcome["replacingOrderCancelTransaction"] = outcome.pop("orderCancelTransaction")
    return batch.reply(201, body | outcome)


def cancel_order(account: Ledger, specifier: str, now_ns: int, force: Interference = NONE) -> Reply:
    """PUT orders/{spec}/cancel: 200, or 404 with the refused cancel."""
    batch = Batch(account, now_ns)
    order = account.order_named(specifier)
    if order is None or order.state != "PENDING" or force.reject:
        return _cancel_refused(account, batch, specifier, order, force.reject)
    return batch.reply(200, {"orderCancelTransaction": batch.cancel(order, "CLIENT_REQUEST")})


def _cancel_refused(
    account: Ledger, batch: Batch, specifier: str, order: Order | None, reason: str | None = None
) -> Reply:
    fields: Json = {}
    if order is not None:
        fields["orderID"] = str(order.id)
    elif specifier.isdigit():
        fields["orderID"] = specifier
    if specifier.startswith("@"):
        fields["clientOrderID"] = specifier[1:]
    return batch.rejection(
        "orderCancelRejectTransaction",
        "ORDER_CANCEL_REJECT",
        reason or "ORDER_DOESNT_EXIST",
        status=404,
        **fields,
    )


def set_order_extensions(account: Ledger, specifier: str, source: Json, now_ns: int) -> Reply:
    """PUT orders/{spec}/clientExtensions."""
    batch = Batch(account, now_ns)
    order = account.order_named(specifier)
    changes: Json = {}
    try:
        if order is None or order.state != "PENDING":
            raise Rejected("ORDER_DOESNT_EXIST")
        for key, reasons in (
            ("clientExtensions", "CLIENT_ORDER"),
            ("tradeClientExtensions", "CLIENT_TRADE"),
        ):
            if found := client_extensions(source.get(key), key, reasons):
                changes[f"{key}Modify"] = found
        if not changes:
            raise Rejected("CLIENT_EXTENSIONS_DATA_MISSING")
        new_name = changes.get("clientExtensionsModify", {}).get("id")
        if new_name and account.order_name_taken(new_name, except_for=order.id):
            raise Rejected("CLIENT_ORDER_ID_ALREADY_EXISTS")
    except Rejected as rejected:
        return batch.rejection(
            "orderClientExtensionsModifyRejectTransaction",
            "ORDER_CLIENT_EXTENSIONS_MODIFY_REJECT",
            rejected.reason,
            **_optional(orderID=str(order.id) if order else None),
            **changes,
        )
    modified = batch.add(
        "ORDER_CLIENT_EXTENSIONS_MODIFY",
        orderID=str(order.id),
        **_optional(clientOrderID=order.client_id),
        **changes,
    )
    return batch.reply(200, {"orderClientExtensionsModifyTransaction": modified})


def set_trade_extensions(account: Ledger, specifier: str, source: Json, now_ns: int) -> Reply:
    """PUT trades/{spec}/clientExtensions."""
    batch = Batch(account, now_ns)
    trade = account.trade_named(specifier)
    try:
        if trade is None:
            raise Rejected("TRADE_DOESNT_EXIST")
        found = client_extensions(
            source.get("clientExtensions"), "clientExtensions", "CLIENT_TRADE"
        )
        if not found:
            raise Rejected("CLIENT_EXTENSIONS_DATA_MISSING")
        if account.trade_names.get(found.get("id", ""), trade.id) != trade.id:
            raise Rejected("CLIENT_TRADE_ID_ALREADY_EXISTS")
    except Rejected as rejected:
        return batch.rejection(
            "tradeClientExtensionsModifyRejectTransaction",
            "TRADE_CLIENT_EXTENSIONS_MODIFY_REJECT",
            rejected.reason,
            **_optional(tradeID=str(trade.id) if trade else None),
        )
    modified = batch.add(
        "TRADE_CLIENT_EXTENSIONS_MODIFY",
        tradeID=str(trade.id),
        tradeClientExtensionsModify=found,
    )
    return batch.reply(200, {"tradeClientExtensionsModifyTransaction": modified})


def close_trade(
    account: Ledger,
    specifier: str,
    source: Json,
    market: QuoteBoard,
    now_ns: int,
    force: Interference = NONE,
) -> Reply:
    """PUT trades/{spec}/close: a market order against that trade alone.

    Raises:
        Malformed: nothing was recorded.
    """
    batch = Batch(account, now_ns)
    trade = account.trade_named(specifier)
    asked = source.get("units", "ALL")
    try:
        if force.reject:
            raise Rejected(force.reject)
        if trade is None or not trade.is_open:
            raise Rejected("TRADE_DOESNT_EXIST")
        spec = market.instruments[trade.instrument]
        size = _closing_size(
            asked,
            abs(trade.units),
            spec,
            where="units",
            missing="CLOSE_TRADE_PARTIAL_UNITS_MISSING",
            exceeded="CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE",
        )
    except Rejected as rejected:
        return batch.rejection(
            "orderRejectTransaction",
            "MARKET_ORDER_REJECT",
            rejected.reason,
            reason="TRADE_CLOSE",
            tradeClose={"tradeID": specifier, "units": str(asked)},
        )
    created = batch.add(
        "MARKET_ORDER",
        instrument=trade.instrument,
        units=plain(size.copy_sign(-trade.units)),
        timeInForce="FOK",
        positionFill="REDUCE_ONLY",
        reason="TRADE_CLOSE",
        tradeClose={"tradeID": str(trade.id), "units": str(asked)},
    )
    order = account.orders[int(created["id"])]
    body = {"orderCreateTransaction": created} | fill(
        account, order, market, batch, force, reason="MARKET_ORDER_TRADE_CLOSE"
    )
    return batch.reply(200, body)


def close_position(
    account: Ledger,
    instrument: str,
    source: Json,
    market: QuoteBoard,
    now_ns: int,
    force: Interference = NONE,
) -> Reply:
    """PUT positions/{instrument}/close: one market order for each side that is named.

    Raises:
        Malformed: nothing was recorded.
    """
    batch = Batch(account, now_ns)
    spec = instrument_named(instrument, market.instruments, "instrument")
    sides = [
        (side, source[f"{side}Units"])
        for side in ("long", "short")
        if source.get(f"{side}Units", "NONE") != "NONE"
    ]
    wanted: list[tuple[str, Any, Decimal, Json | None]] = []
    failed: tuple[str, Any, str] | None = None
    if not sides:
        failed = ("long", "NONE", "CLOSEOUT_POSITION_INCOMPLETE_SPECIFICATION")
    for side, asked in sides:
        held = sum(
            (abs(one.units) for one in account.open_trades(instrument, long=side == "long")), ZERO
        )
        try:
            if force.reject:
                raise Rejected(force.reject)
            if not held:
                raise Rejected("CLOSEOUT_POSITION_DOESNT_EXIST")
            size = _closing_size(
                asked,
                held,
                spec,
                where=f"{side}Units",
                missing="CLOSEOUT_POSITION_PARTIAL_UNITS_MISSING",
                exceeded="CLOSEOUT_POSITION_UNITS_EXCEED_POSITION_SIZE",
            )
            where = f"{side}ClientExtensions"
            extensions = client_extensions(source.get(where), where, "CLIENT_ORDER")
        except Rejected as rejected:
            failed = failed or (side, asked, rejected.reason)
            continue
        wanted.append((side, asked, -size if side == "long" else size, extensions))
    if failed:
        side, asked, reason = failed
        return batch.rejection(
            f"{side}OrderRejectTransaction",
            "MARKET_ORDER_REJECT",
            reason,
            instrument=instrument,
            reason="POSITION_CLOSEOUT",
            **_optional(
                **{f"{side}PositionCloseout": {"instrument": instrument, "units": str(asked)}}
            ),
        )
    body: Json = {}
    for side, asked, units, extensions in wanted:
        created = batch.add(
            "MARKET_ORDER",
            instrument=instrument,
            units=plain(units),
            timeInForce="FOK",
            positionFill="REDUCE_ONLY",
            reason="POSITION_CLOSEOUT",
            **{f"{side}PositionCloseout": {"instrument": instrument, "units": str(asked)}},
            **_optional(clientExtensions=extensions),
        )
        order = account.orders[int(created["id"])]
        outcome = fill(
            account, order, market, batch, force, reason="MARKET_ORDER_POSITION_CLOSEOUT"
        )
        body[f"{side}OrderCreateTransaction"] = created
        body |= {f"{side}O{key[1:]}": value for key, value in outcome.items()}
    return batch.reply(200, body)


def set_trade_orders(
    account: Ledger,
    specifier: str,
    source: Json,
    market: QuoteBoard,
    now_ns: int,
    force: Interference = NONE,
) -> Reply:
    """PUT trades/{spec}/orders: create, replace (details) or cancel (null) the dependents.

    Raises:
        Malformed: nothing was recorded.
    """
    batch = Batch(account, now_ns)
    trade = account.trade_named(specifier)
    asked = [
        (order_type, slot, key)
        for order_type, (slot, key) in DEPENDENT_SLOTS.items()
        if key in source
    ]
    ready: dict[str, Json] = {}
    for order_type, slot, key in asked:
        old_id = getattr(trade, slot) if trade else None
        old = account.orders[old_id] if old_id else None
        given = source[key]
        try:
            if force.reject:
                raise Rejected(force.reject)
            if trade is None or not trade.is_open:
                raise Rejected("TRADE_DOESNT_EXIST")
            if given is None:
                continue
            if not isinstance(given, dict):
                raise Malformed(f"Invalid value specified for '{key}'")
            if old:
                given = _inherited(given, old)
            request = given | {"type": order_type, "tradeID": str(trade.id)}
            ready[key] = _new_order_fields(
                account, order_type, request, market, now_ns, replaces=old, where=key
            )
        except Rejected as rejected:
            return batch.rejection(
                f"{key}OrderRejectTransaction",
                f"{order_type}_ORDER_REJECT",
                rejected.reason,
                status=404 if rejected.reason == "TRADE_DOESNT_EXIST" else 400,
                tradeID=specifier,
                **echo(source[key] or {}),
                reason="REPLACEMENT" if old else "CLIENT_ORDER",
            )
    if trade is None:
        raise Malformed("The trade ID specified does not exist")
    body: Json = {}
    for order_type, slot, key in asked:
        old_id = getattr(trade, slot)
        old = account.orders[old_id] if old_id else None
        if key not in ready:
            if old:
                cancel = batch.cancel(old, "CLIENT_REQUEST")
                body[f"{key}OrderCancelTransaction"] = cancel
            continue
        if not trade.is_open:
            break  # an order earlier in this request has just closed the trade
        if old:
            cancel, created = _swap(account, batch, old, order_type, ready[key])
            body[f"{key}OrderCancelTransaction"] = cancel
        else:
            created = batch.add(f"{order_type}_ORDER", **ready[key], reason="CLIENT_ORDER")
        body[f"{key}OrderTransaction"] = created
        outcome = work_new_order(account, account.orders[int(created["id"])], market, batch, force)
        if "orderFillTransaction" in outcome:
            body[f"{key}OrderFillTransaction"] = outcome["orderFillTransaction"]
        elif "orderCancelTransaction" in outcome:
            body[f"{key}OrderCreatedCancelTransaction"] = outcome["orderCancelTransaction"]
    return batch.reply(200, body)


def configure(account: Ledger, source: Json, now_ns: int) -> Reply:
    """PATCH configuration: alias and margin rate."""
    batch = Batch(account, now_ns)
    changes: Json = {}
    try:
        if source.get("alias") is not None:
            if not isinstance(source["alias"], str) or len(source["alias"]) > 64:
                raise Rejected("ALIAS_INVALID")
            changes["alias"] = source["alias"]
        if source.get("marginRate") is not None:
            try:
                rate = read_decimal(source["marginRate"])
            except ValueError:
                raise Rejected("MARGIN_RATE_INVALID") from None
            if not 0 < rate <= 1:
                raise Rejected("MARGIN_RATE_INVALID")
            changes["marginRate"] = plain(rate)
        if not changes:
            raise Rejected("CLIENT_CONFIGURE_DATA_MISSING")
    except Rejected as rejected:
        return batch.rejection(
            "clientConfigureRejectTransaction",
            "CLIENT_CONFIGURE_REJECT",
            rejected.reason,
            **changes,
        )
    configured = batch.add("CLIENT_CONFIGURE", **changes)
    return Reply(
        200,
        {"clientConfigureTransaction": configured, "lastTransactionID": str(account.last_id)},
    )


def _new_order_fields(
    account: Ledger,
    order_type: str,
    source: Json,
    market: QuoteBoard,
    now_ns: int,
    *,
    replaces: Order | None = None,
    where: str = "order",
) -> Json:
    """The normalised fields of an order that may be created, or the reason why not."""
    if order_type in ENTRY_TYPES:
        spec = instrument_named(source.get("instrument"), market.instruments, "order.instrument")
        fields = entry_fields(source, spec, now_ns)
        if replaces and replaces.instrument != spec.name:
            raise Rejected("REPLACING_ORDER_INVALID")
        if spec.name not in market.quotes or (
            market.conversion(spec.quote, account.terms.currency) is None
        ):
            raise Rejected("INSTRUMENT_PRICE_UNKNOWN")
    else:
        trade = _trade_of(account, source)
        spec = market.instruments[trade.instrument]
        fields = details_fields(order_type, source, spec, now_ns, where=where, on_fill=False)
        taken = getattr(trade, DEPENDENT_SLOTS[order_type][0])
        if taken is not None and (replaces is None or replaces.id != taken):
            raise Rejected(f"{order_type}_ORDER_ALREADY_EXISTS")
        if replaces and replaces.trade_id != trade.id:
            raise Rejected("REPLACING_TRADE_ID_INVALID")
        fields = dependent_fields(trade, order_type, fields, market.quotes[trade.instrument])
    if replaces and "clientExtensions" in replaces.fields:
        fields.setdefault("clientExtensions", replaces.fields["clientExtensions"])
    own = replaces.id if replaces else None
    if replaces and identity(fields) == replaces.client_id:
        pass  # a replacement carries its predecessor's name on
    elif account.order_name_taken(identity(fields), except_for=own):
        raise Rejected("CLIENT_ORDER_ID_ALREADY_EXISTS")
    if account.trade_name_taken(fields):
        raise Rejected("CLIENT_TRADE_ID_ALREADY_EXISTS")
    crowded = len(account.pending) >= account.terms.pending_orders_max
    if crowded and order_type != "MARKET" and not replaces:
        raise Rejected("PENDING_ORDERS_ALLOWED_EXCEEDED")
    return fields


def _trade_of(account: Ledger, source: Json) -> Trade:
    trade_id, client_id = source.get("tradeID"), source.get("clientTradeID")
    if trade_id is None and client_id is None:
        raise Rejected("TRADE_ID_UNSPECIFIED")
    by_id = account.trade_named(str(trade_id)) if trade_id is not None else None
    by_name = account.trade_named(f"@{client_id}") if client_id is not None else None
    if by_id and by_name and by_id is not by_name:
        raise Rejected("TRADE_IDENTIFIER_INCONSISTENCY")
    trade = by_id or by_name
    if trade is None or not trade.is_open:
        raise Rejected("TRADE_DOESNT_EXIST")
    return trade


def _swap(
    account: Ledger, batch: Batch, old: Order, order_type: str, fields: Json
) -> tuple[Json, Json]:
    """Cancel `old` and create its replacement."""
    cancelled = batch.cancel(
        old, "CLIENT_REQUEST_REPLACED", replacedByOrderID=str(account.last_id + 2)
    )
    created = batch.add(
        f"{order_type}_ORDER",
        **fields,
        reason="REPLACEMENT",
        replacesOrderID=str(old.id),
        cancellingTransactionID=cancelled["id"],
    )
    return cancelled, created


def _order_type(source: Json) -> str:
    order_type = source.setdefault("type", "MARKET")
    if not isinstance(order_type, str) or order_type not in ENTRY_TYPES | DEPENDENT_TYPES:
        raise Malformed("Invalid value specified for 'order.type'")
    return order_type


def _full_echo(source: Json) -> Json:
    fields = echo(source)
    fields.setdefault("timeInForce", "FOK" if source["type"] == "MARKET" else "GTC")
    if source["type"] in ENTRY_TYPES:
        fields.setdefault("positionFill", "DEFAULT")
    return fields


def _optional(**fields: Any) -> Json:
    """The fields that are there."""
    return {key: value for key, value in fields.items() if value is not None}


def _inherited(given: Json, old: Order) -> Json:
    """Details for a replacement: what is not given stays as it was."""
    kept: Json = {
        key: old.fields[key]
        for key in ("timeInForce", "gtdTime", "triggerCondition")
        if key in old.fields
    }
    if "price" not in given and "distance" not in given:
        level = "distance" if "distance" in old.fields else "price"
        kept[level] = old.fields[level]
    return kept | given


def _closing_size(
    asked: object, held: Decimal, spec: Instrument, *, where: str, missing: str, exceeded: str
) -> Decimal:
    """How many units (> 0) a close means."""
    if asked == "ALL":
        return held
    if asked is None:
        raise Rejected(missing)
    try:
        size = read_decimal(asked)
    except ValueError:
        raise Malformed(f"Invalid value specified for '{where}'") from None
    if size <= 0:
        raise Rejected("UNITS_INVALID")
    if decimals_of(size) > spec.units_precision:
        raise Rejected("UNITS_PRECISION_EXCEEDED")
    if size > held:
        raise Rejected(exceeded)
    return size
