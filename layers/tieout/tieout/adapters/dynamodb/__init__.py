"""The state, in one DynamoDB table.

    partition key (pk)             sort key (sk)              what
    <tenant>#link#<sync>           <step>#<reference>         link, its intent, why it is not in agreement
    <tenant>#target#<sync>         <step>#<target id>         the way from a target id back to its link
    <tenant>#connection            <connection>               connection
    <tenant>#sync                  <sync>                     the running version of a sync document
    <tenant>#sync_version          <sync>#<version>           every version of it
    <tenant>#cursor#<connection>   <name>                     where to go on reading
    <tenant>#run#<sync>            <started at>               a long piece of work
    <tenant>#plan                  <plan>                     a stored plan: what it counts, who approved it, its state
    <tenant>#plan_writes#<plan>    <number>                   some of its writes, with their documents
    <tenant>#plan_left_out#<plan>  <step>#<reference>         why a write of it was not done
    <tenant>#budget                <connection>               calls spent at the provider
    <tenant>#lease                 <name>                     who may do it alone now
    <tenant>#alert                 <cause>#<hash>             what a person must hear of
    <tenant>#alert_window          <cause>#<hash>             until when this cause stays silent
    <tenant>#audit                 tip                        where the audit trail ended when it was last archived
    tieout#tenants                 <tenant>                   the tenants of the deployment
    <tenant>#file_...              ...                        rows of files, and the imports of them: see `file_rows`

Two sparse indexes: `unsynced` (`unsynced_pk` = `<tenant>#unsynced`, `unsynced_sk` = `<state>#<since>#...`; with all
attributes) and `account` (`account_pk` = `account#<provider>#<account>`, `sk`; keys only). `expires_at` is the
time-to-live attribute; no decision rests on it, as DynamoDB deletes late.

A link stays below 1,024 bytes for an ordinary invoice, so that claiming and settling cost one write unit each.
"""
