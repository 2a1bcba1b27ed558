import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("challenges", "0003_first_editions")]
    operations = [
        migrations.AlterField(
            model_name="phase",
            name="protocol",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="phases",
                to="challenges.protocolversion",
            ),
        )
    ]
