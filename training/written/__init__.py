"""What a language model of the site's choice writes for training: filtered reports, conversations, judgements.

Reports of the credentialed data sets may be sent only where their data use agreement allows it: nothing here runs
unless a site names an endpoint and says so.
"""

from training.written.author import Author

__all__ = ["Author"]
