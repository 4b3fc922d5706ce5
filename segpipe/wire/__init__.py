"""What the inference service and its clients say to each other."""
