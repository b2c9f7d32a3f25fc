"""The local platform: one home's ports, from its settings; only the adapters that their URLs name are imported."""
