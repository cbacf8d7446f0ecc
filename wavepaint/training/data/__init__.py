"""What a network is trained on: photos, crops of them, and masks."""
