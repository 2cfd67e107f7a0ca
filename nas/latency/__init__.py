"""Latencies in budgets: tables that predict them, and kits that measure them on devices without this package."""
