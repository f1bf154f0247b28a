"""Prices, candles and metrics."""

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.trading.api.market_shapes import (
    CandlesIn,
    CandlesOut,
    InstrumentOut,
    MarketsOut,
    MetricsIn,
    MetricsOut,
)
from webapp.trading.api.pages import page_of, paged
from webapp.trading.api.shapes import SIGNED_IN, PageIn, checked, with_errors
from webapp.trading.models import Feed, Instrument
from webapp.trading.selectors.candles import candle_resource, candles_newest
from webapp.trading.selectors.engine import metrics_resource
from webapp.trading.selectors.market import market_latest
from webapp.trading.selectors.resources import instrument_resource


class MarketData(APIView):
    @extend_schema(operation_id="market_data", responses=with_errors({200: MarketsOut}, *SIGNED_IN))
    def get(self, request: Request) -> Response:
        """Newest quote, bar and metrics of each enabled instrument; null where none is known."""
        now = timezone.now()
        found = []
        for name in Instrument.objects.filter(enabled=True).values_list("name", flat=True)[:100]:
            market = market_latest(name)
            data = {} if market is None else market.data
            found.append(
                {
                    "instrument": name,
                    "quote": data.get("quote"),
                    "bar": data.get("bar"),
                    "qfh": data.get("qfh"),
                    "age_s": None if market is None else market.age_s(now),
                }
            )
        return Response({"instruments": found})


class Instruments(APIView):
    @extend_schema(
        operation_id="instruments",
        parameters=[PageIn],
        responses=with_errors({200: paged(InstrumentOut)}, 400, *SIGNED_IN),
    )
    def get(self, request: Request) -> Response:
        """Every instrument with its steps and market hours."""
        checked(PageIn, request.query_params.dict())
        return page_of(request, Instrument.objects.order_by("name"), instrument_resource)


class Candles(APIView):
    @extend_schema(
        operation_id="candles",
        parameters=[CandlesIn],
        responses=with_errors({200: CandlesOut}, 400, 404, *SIGNED_IN),
    )
    def get(self, request: Request, instrument: str) -> Response:
        """Stored candles, oldest first: the newest `limit`, or those before a time."""
        query = checked(CandlesIn, request.query_params.dict())
        row = get_object_or_404(Instrument, name=instrument)
        feed = Feed.objects.filter(instrument=row, granularity=query["granularity"]).first()
        candles = candles_newest(
            row,
            granularity=query["granularity"],
            limit=query["limit"],
            before=query.get("before"),
        )
        return Response(
            {
                "instrument": row.name,
                "granularity": query["granularity"],
                "price_side": candles.price_side,
                "source": candles.source,
                "candles": [candle_resource(candle, row) for candle in candles.rows],
                "feed_cursor": None if feed is None else feed.cursor,
            }
        )


class Metrics(APIView):
    @extend_schema(
        operation_id="qfh",
        parameters=[MetricsIn],
        responses=with_errors({200: MetricsOut}, 400, 404, *SIGNED_IN),
    )
    def get(self, request: Request, instrument: str) -> Response:
        """The metrics of stored candles with their coin percentiles, oldest first.

        Of the newest `limit` candles, or of those before a time.
        """
        query = checked(MetricsIn, request.query_params.dict())
        row = get_object_or_404(Instrument, name=instrument)
        return Response(metrics_resource(row, **query))
