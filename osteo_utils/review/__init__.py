"""What a reviewer asks: guidelines answered item by item, and two runs compared.

In: saved metrics, tables and parameters of one run or two, `about.yaml`, and the findings of the report.
Out: checklists, model card, datasheet, the reviewer's page, and the page of a comparison.
"""
