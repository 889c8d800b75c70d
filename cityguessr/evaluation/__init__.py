"""What finished runs say: accuracies with intervals, confusions, and clips that serve as examples."""
