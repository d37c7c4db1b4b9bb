"""What a person does: a gamepad in the hand, keys under the fingers."""
