"""From a checkpoint to the files that other engines run. Imported as `tvau_export`; nothing else imports it."""
