"""Grammars: which tokens an answer may go on with, so that it has the form that its request asks for."""
