from django.db import migrations

from server import scoring


def link(apps, schema_editor):
    """Evaluations name a row where they named a word."""
    protocols = apps.get_model("challenges", "ProtocolVersion")
    evaluations = apps.get_model("submissions", "Evaluation").objects
    for name in set(evaluations.values_list("protocol_name", flat=True)):
        rules, digest = scoring.protocol_rules(name)
        defaults = {"rules": rules, "evaluator": scoring.version()}
        row, _ = protocols.objects.get_or_create(name=name, digest=digest, defaults=defaults)
        evaluations.filter(protocol_name=name).update(protocol=row)


class Migration(migrations.Migration):
    dependencies = [("submissions", "0002_items")]
    operations = [migrations.RunPython(link, migrations.RunPython.noop)]
