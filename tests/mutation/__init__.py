"""Mutation testing of the mapping and the engine: are the tests hurt by each small wrong change of the code?"""
