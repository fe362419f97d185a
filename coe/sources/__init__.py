"""An expert's folder, read with limits: its JSON files, their fields, the base that an adapter names."""
