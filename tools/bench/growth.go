package main

func (l *lab) growth(base *variant, opts options, doc *report) error { return nil }
