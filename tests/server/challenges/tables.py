"""The shortest `challenge.toml` that is right: HEAD + PHASE."""

HEAD = 'slug = "made-up"\ntitle = "Made up"\nprotocol = "crista-1"\n'
PHASE = """
[[phase]]
slug = "test"
title = "Test"
opens = 2026-01-01T00:00:00Z
closes = 2026-02-01T00:00:00Z
"""
