"""Stage 1: may this come in, and what exactly is it?"""
