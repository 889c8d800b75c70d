"""What a training takes: operations, time, memory and money; and `check`, which measures a GPU (`make gpu-check`)."""
