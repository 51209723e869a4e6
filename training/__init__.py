"""Training of tvau: data, stages, metrics. Imported as `tvau_training`; nothing else imports it."""
