"""Servers that keep nothing: how fast could a door be at all, and how fast can the sender send?"""
