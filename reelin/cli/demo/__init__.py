"""`reelin demo`: a whole Reelin in a temporary folder, against a media server of its own.

`command` says what happens in what order, `acts` what is shown, `service` runs `reelin up`,
`proof` compares files with their sources.
"""
