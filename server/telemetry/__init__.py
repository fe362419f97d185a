"""What an operator is told over HTTP: events as they happen, decisions, and what people say of them."""
