"""From a question to an answer, without Paddle."""
