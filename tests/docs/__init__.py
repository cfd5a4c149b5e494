"""The pages in docs/ are run: what stands in their `console` blocks is what a person sees who types the same."""
