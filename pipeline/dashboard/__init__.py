"""Preview of the Grafana dashboards without Grafana: dashboard JSON and a ClickHouse in, one self-contained HTML page out.

    deploy/grafana/json/*/*.json -> definition -> expand (macros, variables) -> query -> charts -> render -> page

The page shows the same JSON with the same SQL as Grafana does, so that who has no Grafana sees the same, and so that tests can look at
every panel.  It holds no script: charts are SVG made here, the content security policy of the page forbids everything but its own style,
and all text, which attackers write into logs, is escaped.  A chart library in the page would be quicker to write against, and would run
script beside hostile text.
"""
