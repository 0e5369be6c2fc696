"""Stage 2: answered already?"""
