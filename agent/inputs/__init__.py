"""Devices that a person drives with: a gamepad or the keyboard."""
