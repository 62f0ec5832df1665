"""AMPECO's published contract as data: payloads of notifications, bodies and answers of operations, samples of both.

The simulator answers by it, plugin tests take samples from it. It knows none of our models, so it can judge them.

Source: AMPECO.CHARGE Public API, OpenAPI 3.0.0, v3.110.0, through `ampeco/facts`.
"""
