#!/bin/sh
# A program that takes any arguments, says nothing and never ends by itself.
exec sleep 1000000
