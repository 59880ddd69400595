"""What is learned: data, and the metrics that judge samples."""
