"""A trained generator as a service: its SavedModel, a local server of TF Serving's interface, and a
client.
"""
