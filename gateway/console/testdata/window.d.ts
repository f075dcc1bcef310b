// What the vendored scripts put into a page, for the check of the types of our own.
interface Window { htmx: any; uPlot: any }
